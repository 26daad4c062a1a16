"""A file system whose flock fails: without locks, with an error, or as if somebody held every lock."""

import errno
import fcntl
import os
import random
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from grokking.files import names
from grokking.sweeps import runner
from grokking.sweeps.axis import AXIS
from grokking.sweeps.plan import Plan, write_plan
from tools.reliability.forked import Ended, differences, forked_run, outcome
from tools.reliability.outcome import Outcome
from tools.reliability.reports import content, forked_report
from tools.reliability.small_sweeps import EPOCHS, SETTINGS, forked_sweep
from tools.reliability.tampering import at_epoch, signalling

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # the file system has none
HELD = errno.EWOULDBLOCK
ERRORS = (*NO_LOCKS, errno.EIO, errno.EINTR, HELD)  # EINTR: Python itself tries again, and hides it
EVERY = 0  # instead of the number of a call
PLAN = Plan((AXIS.over((1.0,)),), (1, 2), (EPOCHS,), SETTINGS)


class Failure(NamedTuple):
    """flock fails with `error` at its number-th call, or at EVERY one; no sign can be put up either."""

    error: int
    number: int

    def strikes(self, call: int) -> bool:
        return self.number in (EVERY, call)

    @property
    def refuses(self) -> bool:
        return self.error not in NO_LOCKS

    @property
    def code(self) -> int:
        return 2 if self.error == HELD else 1

    @property
    def words(self) -> str:
        return "is in use by another" if self.error == HELD else "cannot lock"


def lock_errors(count: int, chance: random.Random, folder: Path) -> Outcome:
    """A run, a resumed run, a sweep and a report where flock fails; then it works."""
    result = Outcome()
    expected = _templates(folder)
    directory = folder / "work"
    for attempt in range(count):
        kind = chance.choice((_run, _run, _resumed_run, _resumed_run, _sweep, _sweep, _report))
        failure = Failure(ERRORS[attempt % len(ERRORS)], chance.choice((EVERY, 1, 2, 3)))
        if kind is not _sweep:
            failure = failure._replace(number=EVERY)  # it makes one call, or none
        result.tried += 1
        where = f"{kind.__name__[1:]}, {errno.errorcode[failure.error]} at call {failure.number}"
        result.broken += [f"{where}: {fault}" for fault in kind(directory, failure, expected)]
        shutil.rmtree(directory)
        (folder / "calls").unlink(missing_ok=True)
    return result


def _templates(folder: Path) -> dict[str, Any]:
    """What the runs end with and the finished one's folder with its report, by name."""
    for run in PLAN.runs():
        assert forked_run(folder / run.name, **run.variables).code == 0
    first = PLAN.runs()[0]
    stop = signalling(signal.SIGTERM)
    ended = forked_run(folder / "stopped", lambda: at_epoch(8, stop), **first.variables)
    assert ended.code == 128 + signal.SIGTERM, ended
    expected: dict[str, Any] = {run.name: outcome(folder / run.name) for run in PLAN.runs()}
    shutil.copytree(folder / first.name, folder / "reported")
    ended = forked_report(folder / "reported")
    assert ended.code == 0, ended
    return expected | {"reported": content(folder / "reported")}


def _fail(failure: Failure, calls: Path) -> None:
    """Let it happen in this process and its forks, which count their calls in one file."""
    signal.alarm(600)  # it takes seconds
    runner.PATIENCE_SECONDS = float("inf")  # so that waiting for a lock does not end
    flock, fcntl_ = fcntl.flock, fcntl.fcntl

    def failing_flock(handle: int, operation: int) -> None:
        with calls.open("ab") as file:
            file.write(b".")
        if failure.strikes(calls.stat().st_size):
            raise OSError(failure.error, os.strerror(failure.error))
        flock(handle, operation)

    def failing_fcntl(handle: int, command: int, argument: Any = 0) -> Any:
        if command == fcntl.F_OFD_SETLK:
            raise OSError(failure.error, os.strerror(failure.error))
        return fcntl_(handle, command, argument)

    fcntl.flock, fcntl.fcntl = failing_flock, failing_fcntl  # type: ignore[assignment]


def _run(directory: Path, failure: Failure, expected: dict[str, Any]) -> Iterator[str]:
    run, calls = PLAN.runs()[0], directory.parent / "calls"
    before = content(directory)
    ended = forked_run(directory, lambda: _fail(failure, calls), **run.variables, GROK_RESUME="1")
    if failure.refuses:
        yield from _badly_refused(ended, failure)
        left = content(directory)
        left.pop(".lock", None)
        if left != before:
            yield "refused, and changed"
    else:
        if ended.code != 0:
            yield f"exit code {ended.code}, {ended.errors!r}"
        yield from _badly_told(ended.errors, directory, 1)
        yield from _ended_otherwise(directory, expected[run.name])
    if forked_run(directory, **run.variables, GROK_RESUME="1").code != 0:
        yield "does not go on when there are locks"
    yield from _ended_otherwise(directory, expected[run.name])


def _resumed_run(directory: Path, failure: Failure, expected: dict[str, Any]) -> Iterator[str]:
    shutil.copytree(directory.parent / "stopped", directory)
    (directory / ".lock").unlink()
    yield from _run(directory, failure, expected)


def _sweep(directory: Path, failure: Failure, expected: dict[str, Any]) -> Iterator[str]:
    """The sweep makes the first call, a stopped run the second, one that has not begun the third."""
    folder, runs = directory.parent, [run.name for run in PLAN.runs()]
    directory.mkdir()
    write_plan(directory, PLAN)
    shutil.copytree(folder / "stopped", directory / runs[0])
    before, refused = content(directory), failure.refuses and failure.strikes(1)
    ended, told = forked_sweep(
        "--resume", directory, folder=folder, before=lambda: _fail(failure, folder / "calls")
    )
    if refused:
        yield from _badly_refused(ended, failure)
        if content(directory) != before | {".lock": b""}:
            yield "refused, and changed"
    else:
        failed = [run for call, run in enumerate(runs, 2) if failure.strikes(call)]
        failed *= failure.refuses
        if ended.code != bool(failed):
            yield f"exit code {ended.code}, {ended.errors!r} {told[-400:]!r}"
        yield from _badly_told(ended.errors, directory, failure.strikes(1))
        for call, run in enumerate(runs, 2):
            log = (directory / run / names.OUTPUT).read_text()
            if run in failed:
                if f"{run}  failed with exit code {failure.code} " not in told:
                    yield f"{run} should have been refused: {told[-400:]!r}"
                if failure.words not in log:
                    yield f"the log of {run} has {log[-200:]!r}"
            else:
                yield from _badly_told(log, directory / run, failure.strikes(call))
                yield from _ended_otherwise(directory / run, expected[run])
    ended, told = forked_sweep("--resume", directory, folder=folder)
    if ended.code != 0:
        yield f"does not go on when there are locks: {ended} {told[-400:]!r}"
    for run in runs:
        yield from _ended_otherwise(directory / run, expected[run])


def _report(directory: Path, failure: Failure, expected: dict[str, Any]) -> Iterator[str]:
    """It takes no lock: reports on a run that is at work are wanted."""
    shutil.copytree(directory.parent / PLAN.runs()[0].name, directory)
    calls = directory.parent / "calls"
    ended = forked_report(directory, before=lambda: _fail(failure, calls))
    if ended != Ended(0, "") or content(directory) != expected["reported"]:
        yield f"another report: {ended}"


def _badly_refused(ended: Ended, failure: Failure) -> Iterator[str]:
    lines = ended.errors.splitlines()
    one = len(lines) == 1 and lines[0].startswith("error: ") and failure.words in lines[0]
    if ended.code != failure.code or not one:
        yield f"expected a refusal with {failure.code} and {failure.words!r}, not {ended}"


def _badly_told(text: str, directory: Path, times: int) -> Iterator[str]:
    """Is it said so many times that this folder is not guarded, and nothing else of locks?"""
    lines = [line for line in text.splitlines() if re.search(r"\block(s|ed)?\b", line)]
    said = f"no lock on {directory}, "
    if len(lines) != times or not all(
        line.startswith(said) and "another run or sweep" in line for line in lines
    ):
        yield f"expected {times} lines on locks, not {lines}"


def _ended_otherwise(directory: Path, expected: dict[str, Any]) -> Iterator[str]:
    yield from (f"ended with another {name}" for name in differences(outcome(directory), expected))
