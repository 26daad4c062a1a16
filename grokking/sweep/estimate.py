"""How long a sweep will take and how much disk: a few epochs measured in a folder that is thrown away."""

import heapq
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from grokking.artifacts import read_grokking
from grokking.durations import clock
from grokking.errors import UserError
from grokking.signals import StopRequest
from grokking.sweep.plan import PlannedRun
from grokking.sweep.resources import Resources
from grokking.sweep.runner import OUTPUT_FILE, POLL_SECONDS, Child, ended_together, start
from grokking.sweep.screen import last_line

MEASURED_EPOCHS = 60
LATER_LABELS = 3  # memorization, grokking, grokked: not reached in so few epochs
SNAPSHOTS = 200  # of a trajectory, at most


class Measurement(NamedTuple):
    """Of one short run, with as many beside it as the sweep will have."""

    epochs: int
    epochs_per_second: float
    overhead: float  # seconds of a run outside its training loop
    history_bytes: int  # grows with the epochs
    snapshot_bytes: int  # of one epoch of the trajectory; 0 if none is recorded
    other_bytes: int


def estimate(
    runs: Sequence[PlannedRun], resources: Resources, directory: Path, stop: StopRequest
) -> str:
    """One line with the expected wall time and disk use.

    UserError if the short run was refused, so that what only torch can judge (an absent
    device or kernel) is reported before the sweep's folder exists.
    """
    try:
        measured = measure(runs[0], min(resources.jobs, len(runs)), resources.devices, stop)
    except InterruptedError:
        return "interrupted"
    except RuntimeError as error:
        return f"no estimate: {error}"
    seconds = wall_time([run.epochs for run in runs], resources.jobs, measured)
    size = sum(disk_use(run.epochs, measured) for run in runs)
    free = shutil.disk_usage(_existing(directory)).free
    text = (
        f"expected: {clock(seconds, hours=True)} for {len(runs)} runs, {resources.jobs} at a time at "
        f"{measured.epochs_per_second:.0f} epochs/s each; up to {_bytes(size)} on disk ({_bytes(free)} free)"
    )
    return text if size < free else f"{text}\nwarning: the disk is too small for that"


def measure(run: PlannedRun, jobs: int, devices: Sequence[str], stop: StopRequest) -> Measurement:
    """Run a few epochs, `jobs` times side by side, in a temporary folder; the slowest counts.

    Raises UserError if the run is refused, RuntimeError if it fails, InterruptedError on a signal.
    """
    epochs = min(run.epochs, MEASURED_EPOCHS)
    variables = run.variables | {"GROK_NUM_EPOCHS": str(epochs)}
    with tempfile.TemporaryDirectory(prefix="grokking-") as scratch:
        children: list[Child] = []
        with ended_together(children):
            for slot in range(jobs):
                short = replace(run, name=f"measure{slot}", variables=variables)
                children.append(start(short, Path(scratch), slot, devices))
            took = _wait(children, stop)
        return _slowest(children, epochs, took)


def _wait(children: Sequence[Child], stop: StopRequest) -> float:
    """Seconds until all have ended."""
    while any(child.process.poll() is None for child in children):
        if stop.number is not None:
            raise InterruptedError
        time.sleep(POLL_SECONDS)
    return time.monotonic() - children[0].began


def _slowest(children: Sequence[Child], epochs: int, took: float) -> Measurement:
    for child in children:
        if child.process.returncode:
            said = last_line(child.folder / OUTPUT_FILE).removeprefix("error: ")
            if child.process.returncode == UserError.exit_code:
                raise UserError(said)
            raise RuntimeError(f"the measuring run failed ({said})")
    folder = children[0].folder
    seconds = max(read_grokking(child.folder)["seconds"] for child in children)
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    history = sum(size for path, size in sizes.items() if path.name.endswith("_history.json"))
    snapshots = [size for path, size in sizes.items() if path.parent.name == "trajectory"]
    label = sizes.get(folder / "checkpoint_labeled" / "final.pt", 0)
    other = sum(sizes.values()) - history - sum(snapshots) + LATER_LABELS * label
    overhead = max(0.0, took - seconds)
    return Measurement(
        epochs, epochs / seconds, overhead, history, max(snapshots, default=0), other
    )


def wall_time(epochs: Sequence[int], jobs: int, measured: Measurement) -> float:
    """Seconds of the whole sweep: longest run first, each on the slot that is free first."""
    slots = [0.0] * jobs
    for count in sorted(epochs, reverse=True):
        took = count / measured.epochs_per_second + measured.overhead
        heapq.heapreplace(slots, slots[0] + took)
    return max(slots)


def disk_use(epochs: int, measured: Measurement) -> float:
    """Bytes of one run, at most: its histories grow with its epochs, its trajectory up to a limit."""
    history = measured.history_bytes * epochs / measured.epochs
    trajectory = measured.snapshot_bytes * min(epochs + 1, SNAPSHOTS)
    return history + trajectory + measured.other_bytes


def _existing(directory: Path) -> Path:
    return next(path for path in [directory, *directory.absolute().parents] if path.exists())


def _bytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
