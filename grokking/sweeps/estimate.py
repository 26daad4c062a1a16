"""How long a sweep will take and how much disk: a few epochs measured in a folder that is thrown away."""

import heapq
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from grokking.analysis.scenes import FRAMES
from grokking.files import names
from grokking.files.run_files import read_grokking
from grokking.sweeps.plan import PlannedRun
from grokking.sweeps.reports import report_on
from grokking.sweeps.resources import Resources
from grokking.sweeps.runner import POLL_SECONDS, Child, ended_together, start
from grokking.system.durations import clock
from grokking.system.errors import UserError
from grokking.system.failure import told
from grokking.system.signals import StopRequest

MEASURED_EPOCHS = 60
LATER_LABELS = 5  # memorization, grokking, grokked, circuit_formation, cleanup: not reached so soon
SNAPSHOTS = 200  # of a trajectory, at most
GROWING = (names.LOSSES, names.ACCURACIES, names.MEASURES)


class Measurement(NamedTuple):
    """Of one short run and its report, with as many beside them as the sweep will have."""

    epochs: int
    epochs_per_second: float
    overhead: float  # seconds of a run outside its training loop
    seconds_per_state: (
        float | None
    )  # of a report, for each state that it examines; None: no reports
    growing_bytes: int  # of files that grow with the epochs
    snapshot_bytes: int  # of one epoch of the trajectory; 0 if none is recorded
    other_bytes: int


def estimate_sweep(
    runs: Sequence[PlannedRun],
    resources: Resources,
    directory: Path,
    stop: StopRequest,
    reports: bool,
) -> str:
    """One line with the expected wall time and disk use, of the `reports` too if there will be any.

    UserError if the short run was refused, so that what only torch can judge (an absent
    device or kernel) is reported before the sweep's folder exists.
    """
    jobs = min(resources.jobs, len(runs))
    try:
        measured = measure_epochs(runs[0], jobs, resources.devices, stop, reports)
    except InterruptedError:
        return "interrupted"
    except RuntimeError as error:
        return f"no estimate: {error}"
    seconds = wall_time([run.epochs for run in runs], resources.jobs, measured)
    size = sum(disk_use(run.epochs, measured) for run in runs)
    free = shutil.disk_usage(_existing(directory)).free
    text = (
        f"expected: {clock(seconds, hours=True)} for {len(runs)} runs{' and their reports' * reports}, "
        f"{resources.jobs} at a time at {measured.epochs_per_second:.0f} epochs/s each; "
        f"up to {_bytes(size)} on disk ({_bytes(free)} free)"
    )
    return text if size < free else f"{text}\nwarning: the disk is too small for that"


def measure_epochs(
    run: PlannedRun, jobs: int, devices: Sequence[str], stop: StopRequest, reports: bool
) -> Measurement:
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
        _check_ended_well(children)
        folders = [child.folder for child in children]
        reporting = _time_reports(folders, variables, stop) if reports else None
        return measured_in(folders, epochs, took, reporting)


def _wait(children: Sequence[Child], stop: StopRequest) -> float:
    """Seconds until all have ended."""
    while any(child.process.poll() is None for child in children):
        if stop.number is not None:
            raise InterruptedError
        time.sleep(POLL_SECONDS)
    return time.monotonic() - children[0].began


def _check_ended_well(children: Sequence[Child]) -> None:
    for child in children:
        if child.process.returncode:
            said = told(child.folder / names.FAILURE, child.process.returncode)
            if child.process.returncode == UserError.exit_code:
                raise UserError(said)
            raise RuntimeError(f"the measuring run failed ({said})")


def _time_reports(
    folders: Sequence[Path], variables: dict[str, str], stop: StopRequest
) -> float | None:
    """Seconds until all have their reports; None if one could not be reported on."""
    began = time.monotonic()
    complaints = report_on(folders, len(folders), variables)
    if stop.number is not None:
        raise InterruptedError
    return None if complaints else time.monotonic() - began


def measured_in(
    folders: Sequence[Path], epochs: int, took: float, reporting: float | None
) -> Measurement:
    """Of equal runs of so many epochs; the first is weighed. They `took` so many seconds together.

    `reporting`: seconds of their reports, None where they have none.
    """
    seconds = max(read_grokking(folder)["seconds"] for folder in folders)
    overhead = max(0.0, took - seconds)
    sizes = {path: path.stat().st_size for path in folders[0].rglob("*") if path.is_file()}
    growing = sum(size for path, size in sizes.items() if path.name in GROWING)
    snapshots = [size for path, size in sizes.items() if path.parent.name == names.TRAJECTORY]
    examined = states(epochs, bool(snapshots))
    label = sizes.get(folders[0] / names.LABELED / "final.pt", 0)
    return Measurement(
        epochs=epochs,
        epochs_per_second=epochs / seconds,
        overhead=overhead,
        seconds_per_state=None if reporting is None else max(0.0, reporting - overhead) / examined,
        growing_bytes=growing,
        snapshot_bytes=max(snapshots, default=0),
        other_bytes=sum(sizes.values()) - growing - sum(snapshots) + LATER_LABELS * label,
    )


def states(epochs: int, recorded: bool) -> int:
    """States that a report examines, at most: those recorded, and again those of the film."""
    snapshots = min(epochs + 1, SNAPSHOTS) if recorded else 1
    return snapshots + min(snapshots, FRAMES)


def wall_time(epochs: Sequence[int], jobs: int, measured: Measurement) -> float:
    """Seconds of the whole sweep: its runs, and then their reports.

    A report takes what a run takes to start and to draw its pictures, and its time for each state.
    """
    runs = [count / measured.epochs_per_second + measured.overhead for count in epochs]
    if measured.seconds_per_state is None:
        return side_by_side(runs, jobs)
    recorded = measured.snapshot_bytes > 0
    reports = [
        states(count, recorded) * measured.seconds_per_state + measured.overhead for count in epochs
    ]
    return side_by_side(runs, jobs) + side_by_side(reports, jobs)


def side_by_side(durations: Sequence[float], jobs: int) -> float:
    """Seconds for all of these: the longest first, each on the slot that is free first."""
    slots = [0.0] * jobs
    for duration in sorted(durations, reverse=True):
        heapq.heapreplace(slots, slots[0] + duration)
    return max(slots)


def disk_use(epochs: int, measured: Measurement) -> float:
    """Bytes of one run, at most: some files grow with its epochs, its trajectory up to a limit."""
    growing = measured.growing_bytes * epochs / measured.epochs
    trajectory = measured.snapshot_bytes * min(epochs + 1, SNAPSHOTS)
    return growing + trajectory + measured.other_bytes


def _existing(directory: Path) -> Path:
    return next(path for path in [directory, *directory.absolute().parents] if path.exists())


def _bytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
