"""How long a sweep will take and how much disk: a few epochs of its cheapest and of its dearest run,
measured in a folder that is thrown away."""

import heapq
import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from grokking.analysis.scenes import FRAMES
from grokking.config import Config, load
from grokking.files import names
from grokking.files.run_files import read_grokking
from grokking.laws import question_count
from grokking.sweeps.plan import PlannedRun
from grokking.sweeps.reports import report_on
from grokking.sweeps.resources import Resources
from grokking.sweeps.runner import POLL_SECONDS, Child, ended_together, start
from grokking.system.durations import clock, counted
from grokking.system.errors import UserError
from grokking.system.failure import told
from grokking.system.signals import StopRequest

MEASURED_EPOCHS = 60
STEP = 4e7  # work of a step beside its pairs, roughly: a millisecond or two
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


class Forecast(NamedTuple):
    """What the runs of a sweep take, between what its cheapest and its dearest one were measured to."""

    cheapest: tuple[float, Measurement]  # work of an epoch, see work_of
    dearest: tuple[float, Measurement]

    def of(self, run: PlannedRun) -> Measurement:
        """Of a run, by the work of its epochs."""
        (low, least), (high, most) = self.cheapest, self.dearest
        share = (_work(run) - low) / (high - low) if high > low else 0.0
        return between(least, most, min(max(share, 0.0), 1.0))

    def seconds(self, run: PlannedRun) -> float:
        """Of a run without its report, if it goes through all its epochs."""
        return run_time(run.epochs, self.of(run))


def forecast_sweep(
    runs: Sequence[PlannedRun], resources: Resources, stop: StopRequest, reports: bool
) -> Forecast:
    """Measure the run with the least and that with the most work; what measure_epochs raises."""
    jobs, works = min(resources.jobs, len(runs)), [_work(run) for run in runs]

    def measured(work: float) -> tuple[float, Measurement]:
        run = runs[works.index(work)]
        return work, measure_epochs(run, jobs, resources.devices, stop, reports)

    least = measured(min(works))
    return Forecast(least, least if max(works) == min(works) else measured(max(works)))


def work(run: PlannedRun) -> float:
    """Of all its epochs, see work_of."""
    return run.epochs * _work(run)


def _work(run: PlannedRun) -> float:
    return work_of(load(run.variables).config)


def expectation(
    forecast: Forecast,
    runs: Sequence[PlannedRun],
    resources: Resources,
    directory: Path,
    reports: bool,
) -> str:
    """One line with the expected wall time and disk use, of the `reports` too if there will be any."""
    measured = [(run.epochs, forecast.of(run)) for run in runs]
    seconds = wall_time(measured, resources.jobs)
    size = sum(disk_use(*run) for run in measured)
    free = shutil.disk_usage(_existing(directory)).free
    speeds = dict.fromkeys(f"{end.epochs_per_second:.0f}" for _, end in reversed(forecast))
    most = "at most " * any("GROK_STOP_AFTER_GROK" in run.variables for run in runs)
    what = f"{counted(len(runs), 'run')}{' and their reports' * reports}"
    text = (
        f"expected: {most}{clock(seconds, hours=True)} for {what}, {resources.jobs} at a time at "
        f"{' to '.join(speeds)} epochs/s each; up to {_bytes(size)} on disk ({_bytes(free)} free)"
    )
    return text if size < free else f"{text}\nwarning: the disk is too small for that"


def work_of(config: Config) -> float:
    """Multiplications of an epoch, up to a factor: a pair's forward pass through the folded model
    (DESIGN 3), three times for one that is trained on, and its share of the probes for another."""
    questions = question_count(config.task, config.modulus)
    others = (questions - config.training_pairs) / config.probe_every
    pair = config.d_mlp * (config.modulus + 2 * config.num_heads)
    steps = math.ceil(config.training_pairs / (config.batch_size or config.training_pairs))
    return pair * (3.0 * config.training_pairs + others) + STEP * steps


def between(least: Measurement, most: Measurement, share: float) -> Measurement:
    """A run whose work lies at this share of the way: time and bytes grow in proportion."""

    def at(low: float, high: float) -> float:
        return low + share * (high - low)

    reports = None
    if least.seconds_per_state is not None and most.seconds_per_state is not None:
        reports = at(least.seconds_per_state, most.seconds_per_state)
    return Measurement(
        least.epochs,
        1 / at(1 / least.epochs_per_second, 1 / most.epochs_per_second),
        at(least.overhead, most.overhead),
        reports,
        round(at(least.growing_bytes, most.growing_bytes * least.epochs / most.epochs)),
        round(at(least.snapshot_bytes, most.snapshot_bytes)),
        round(at(least.other_bytes, most.other_bytes)),
    )


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


def wall_time(runs: Sequence[tuple[int, Measurement]], jobs: int) -> float:
    """Seconds of the whole sweep, of its runs' (epochs, measurement): they, and then their reports."""
    trained = side_by_side([run_time(*run) for run in runs], jobs)
    reports = [time for run in runs if (time := report_time(*run)) is not None]
    return trained + (side_by_side(reports, jobs) if reports else 0.0)


def run_time(epochs: int, measured: Measurement) -> float:
    """Seconds of a run of so many epochs."""
    return epochs / measured.epochs_per_second + measured.overhead


def report_time(epochs: int, measured: Measurement) -> float | None:
    """Seconds of its report: to start and to draw its pictures, and for each state; None: no report."""
    if measured.seconds_per_state is None:
        return None
    examined = states(epochs, recorded=measured.snapshot_bytes > 0)
    return examined * measured.seconds_per_state + measured.overhead


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
