"""Runs of a sweep as child processes, several at a time, each with its own log.

Every child is its own session: Ctrl-C reaches the sweep alone, which passes it on so
that the children save a checkpoint. A child also dies with the sweep (Linux), so that
no orphan keeps a run's folder locked.
"""

import ctypes
import filecmp
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from grokking.detection import DIVERGED, GENERALISED, GROKKED
from grokking.files import names
from grokking.files.folder import run_files
from grokking.sweeps.budget import Budget
from grokking.sweeps.log import RunLog
from grokking.sweeps.plan import PlannedRun
from grokking.system.durations import clock
from grokking.system.errors import Diverged, RunError, UserError
from grokking.system.failure import ask, told
from grokking.system.locks import is_locked
from grokking.system.signals import StopRequest

POLL_SECONDS = 0.1
PATIENCE_SECONDS = 60.0  # for a run to save its checkpoint
_ROOT = Path(__file__).resolve().parents[2]
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Screen(Protocol):
    """Where the runner shows what happens."""

    done: int  # runs that have ended

    def event(self, text: str) -> None:
        """A line that stays."""

    def refresh(self, running: Sequence[tuple[str, Path]]) -> None:
        """The runs that are going on, each with its log."""


@dataclass
class Child:
    """A run that is going on."""

    run: PlannedRun
    folder: Path
    process: subprocess.Popen[bytes]
    began: float
    slot: int

    def signal(self, number: int) -> None:
        """Pass a signal on to the child and whatever it has started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)


def start(
    run: PlannedRun, directory: Path, slot: int, devices: Sequence[str], resume: str = ""
) -> Child:
    """Start one run, or continue what its folder holds, its output appended to training_output.log.

    `resume` is the GROK_RESUME of a run that has begun. Raises RunError if it cannot.
    """
    folder = directory / run.name
    environment = child_environment() | run.environment(directory) | ask(folder / names.FAILURE)
    if devices:
        environment["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
    try:
        if resume and run_files(folder):
            environment["GROK_RESUME"] = resume
        folder.mkdir(exist_ok=True)
        with (folder / names.OUTPUT).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "grokking"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent if dies_with_us() else None,
            )
    except OSError as error:
        raise RunError(f"cannot start {run.name}: {error}") from error
    return Child(run, folder, process, time.monotonic(), slot)


def child_environment() -> dict[str, str]:
    """Our own without the GROK_ variables, and this package importable from anywhere."""
    inherited = {n: v for n, v in os.environ.items() if not n.startswith("GROK_")}
    path = filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")])
    return inherited | {"PYTHONPATH": os.pathsep.join(path)}


def dies_with_us() -> bool:
    """Can a child be told to die with this process? On Linux the signal follows the thread that starts it."""
    return sys.platform == "linux" and threading.current_thread() is threading.main_thread()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_for_orphans(folders: Sequence[Path], stop: StopRequest) -> None:
    """Let the children of a sweep that was killed save their checkpoints and go.

    A folder still in use after PATIENCE_SECONDS is not one of theirs: its run will say so.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while stop.number is None and time.monotonic() < deadline and any(map(is_locked, folders)):
        time.sleep(POLL_SECONDS)


@contextmanager
def ended_together(children: list[Child], patience: float = 0.0) -> Iterator[None]:
    """End what is left of the children when the block ends, however it ends.

    They get `patience` seconds to save a checkpoint before they are killed.
    """
    try:
        yield
    finally:
        for child in children:
            child.signal(signal.SIGTERM if patience else signal.SIGKILL)
        deadline = time.monotonic() + patience
        for child in children:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))
            child.signal(signal.SIGKILL)
            child.process.wait()


def ended_diverged(folder: Path) -> bool:
    """Does the folder hold the result of a run that diverged?"""
    from grokking.files.run_files import read_grokking

    try:
        return bool(read_grokking(folder)["outcome"] == DIVERGED)
    except UserError:
        return False


def share_library(folder: Path, kept: dict[str, Path]) -> None:
    """Make a run's copy of plotly.js one file with the first one `kept`, where the disk has hard links."""
    for copy in (folder / names.PICTURES).glob(names.LIBRARY.format("*")):
        first = kept.setdefault(copy.name, copy)
        with suppress(OSError):
            if not first.samefile(copy) and filecmp.cmp(first, copy, shallow=False):
                link = copy.with_name(f".{copy.name}")
                os.link(first, link)
                os.replace(link, copy)


def outcome_in_words(result: dict[str, Any]) -> str:
    """What became of a run, by its grokking.json."""
    generalized, collapsed = result["generalization_epoch"], result["collapse_epoch"]
    words = {
        DIVERGED: "diverged",
        GROKKED: f"grok epoch {result['grok_epoch']}",
        GENERALISED: f"No grokking detected: generalised at once, at epoch {generalized}",
    }.get(result["outcome"], "No grokking detected")
    return words if collapsed is None else f"{words}, collapsed at epoch {collapsed}"


class Runner:
    """Works through runs, `jobs` at a time, until all are done or a signal asks to stop."""

    def __init__(
        self,
        directory: Path,
        jobs: int,
        devices: Sequence[str],
        stop: StopRequest,
        screen: Screen,
        resume: str = "",
        budget: Budget | None = None,
    ) -> None:
        self.directory, self.jobs, self.devices = directory, jobs, devices
        self.stop, self.screen, self.resume, self.budget = stop, screen, resume, budget
        self.log = RunLog(directory)
        self.children: list[Child] = []
        self.failed: list[str] = []
        self.diverged: list[str] = []
        self.libraries: dict[str, Path] = {}  # the first copy of each plotly.js
        self.left: list[str] = []  # for which the budget was too small
        self.finished = 0

    def work(self, runs: Sequence[PlannedRun]) -> list[str]:
        """Names of the runs that failed. One failed run does not stop the others.

        After a signal: the children get it too and are waited for, the rest is not started.
        """
        waiting, warned = list(runs), False
        with ended_together(self.children, PATIENCE_SECONDS):
            while self.children or (waiting and self.stop.number is None):
                while waiting and len(self.children) < self.jobs and self.stop.number is None:
                    affordable = next(filter(self._affords, waiting), None)
                    if affordable is None:
                        self.left, waiting = [run.name for run in waiting], []
                        break
                    waiting.remove(affordable)
                    self._start(affordable)
                if self.stop.number is not None and not warned:
                    warned = True
                    self._pass_on(self.stop.number)
                time.sleep(POLL_SECONDS)
                for child in [c for c in self.children if c.process.poll() is not None]:
                    self.children.remove(child)
                    self._ended(child)
                self.screen.refresh([(c.run.name, c.folder / names.OUTPUT) for c in self.children])
        return self.failed

    def _affords(self, run: PlannedRun) -> bool:
        return self.budget is None or self.budget.allows(run)

    def _start(self, run: PlannedRun) -> None:
        taken = {child.slot for child in self.children}
        slot = next(s for s in range(self.jobs) if s not in taken)
        try:
            child = start(run, self.directory, slot, self.devices, self.resume)
        except RunError as error:
            self.failed.append(run.name)
            self._say(run.name, f"failed: {error}")
        else:
            self.children.append(child)
            self._say(run.name, "started")

    def _pass_on(self, number: int) -> None:
        self.screen.event(
            f"{signal.Signals(number).name}: waiting for the runs to save a checkpoint"
        )
        for child in self.children:
            child.signal(number)

    def _ended(self, child: Child) -> None:
        name, code = child.run.name, child.process.returncode
        took = clock(time.monotonic() - child.began, hours=True)
        if code == 0 or (code == Diverged.exit_code and ended_diverged(child.folder)):
            self.finished += 1
            share_library(child.folder, self.libraries)
            if self.budget is not None:
                self.budget.note(child.run, time.monotonic() - child.began)
            self._say(name, f"finished in {took}, {self._outcome(child)}")
        elif self.stop.number is not None and code in (128 + self.stop.number, -self.stop.number):
            self._say(name, f"interrupted after {took}")
        else:
            self.failed.append(name)
            why = told(child.folder / names.FAILURE, code)
            self._say(
                name, f"failed with exit code {code} after {took}: {why}; see {name}/{names.OUTPUT}"
            )
        self.screen.done += 1

    def _outcome(self, child: Child) -> str:
        from grokking.files.run_files import read_grokking

        try:
            result = read_grokking(child.folder)
        except UserError as error:
            self.failed.append(child.run.name)
            return f"but without a result: {error}"
        if result["outcome"] == DIVERGED:
            self.diverged.append(child.run.name)
        return outcome_in_words(result)

    def _say(self, name: str, what: str) -> None:
        self.log.entry(name, what)
        self.screen.event(f"{name}  {what}")
