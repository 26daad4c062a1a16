"""From a run's weights to what its report states: progress measures, phases, fits, ablations."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from grokking import detection
from grokking.analysis import circuit, scenes
from grokking.analysis.controls import draw_controls
from grokking.analysis.hindsight import Examined, examine, look_back
from grokking.analysis.judging import Findings, Measured
from grokking.analysis.phases import Phases, find_phases
from grokking.analysis.progress_measures import ProgressMeasures
from grokking.analysis.scenes import Scenes
from grokking.config import departures
from grokking.files import names, trajectory
from grokking.files.checkpoint import load_checkpoint, save_checkpoint
from grokking.files.history import read_history
from grokking.files.names import labeled_path
from grokking.files.run_files import read_config, read_grokking, read_imported, read_task
from grokking.kernels.backend import Backend
from grokking.kernels.choice import choose_on_cpu
from grokking.system.cores import available_cores
from grokking.system.errors import UserError
from grokking.task import Task

MEMORY = 2_000_000_000  # bytes that the states which are examined at a time may take


class Investigation(NamedTuple):
    """`measures`, the film and the phases in `found` are None where no trajectory was recorded."""

    findings: Findings
    measures: ProgressMeasures | None
    scenes: Scenes


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let numpy and torch add up on one thread, whatever the environment says.

    How a sum is divided among threads shows in its last bits.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        torch.set_num_threads(before)


@single_threaded()
def investigate(
    directory: Path,
    neurons: Sequence[int] = (),
    threads: int | None = None,
    kernel: str = "auto",
) -> Investigation:
    """Examine a run's last weights and its trajectory.

    The film shows `neurons`, or the best of each key frequency if none are named. The kernel is
    the best one unless one is named. As many states are examined at a time as there are cores or,
    if given, `threads`; each on one thread, so that what is found does not depend on their number.
    """
    backend = choose_on_cpu(kernel, threads=1)
    last = last_checkpoint(directory)
    state = examine(last, read_task(directory), backend)
    if not np.isfinite(state.losses).all():
        raise UserError(
            f"{directory}: the loss of its last weights is not finite; nothing to report"
        )
    check_neurons(neurons, state)
    keys = state.key_blocks()
    workers = states_at_a_time(last["config"], threads or available_cores())
    measures = measure_trajectory(directory, last, state.task, keys, backend, workers)
    phases = None if measures is None else find_phases(measures)
    with np.errstate(invalid="ignore", divide="ignore"):  # shares of what does not vary are NaN
        findings = findings_of(state, read_config(directory), keys, phases, directory)
    pictures = render(directory, state, measures, backend, neurons)
    return Investigation(findings, measures, pictures)


def last_checkpoint(directory: Path) -> dict[str, Any]:
    """The final weights of a run, or the newest recorded ones of one that has not finished."""
    final = labeled_path(directory, "final")
    if final.exists():
        return load_checkpoint(final)
    for path in reversed(trajectory.recorded(directory).values()):
        newest = load_if_there(path)
        if newest is not None:
            return newest
    raise UserError(
        f"{directory} has neither {final.name} nor recorded weights; train a run there first"
    )


def load_if_there(path: Path) -> dict[str, Any] | None:
    """A recorded checkpoint; None if the run, which is still training, has thinned it out meanwhile."""
    try:
        return load_checkpoint(path)
    except UserError:
        if path.exists():
            raise
        return None


def states_at_a_time(config: dict[str, Any], threads: int) -> int:
    """One a thread, as far as MEMORY goes."""
    p, d_mlp = config["modulus"], config["d_mlp"]
    each: int = 4 * p**2 * (6 * d_mlp + 4 * p)  # six times its surfaces, four times its logits
    return max(1, min(threads, MEMORY // each))


def measure_trajectory(
    directory: Path,
    last: dict[str, Any],
    task: Task,
    keys: list[int],
    backend: Backend,
    workers: int,
) -> ProgressMeasures | None:
    """The progress measures of every recorded epoch and of the last one; None without a record."""
    paths = trajectory.recorded(directory)
    earlier = [path for epoch, path in paths.items() if epoch < last["epoch"]]
    if not earlier:
        return None
    checkpoints: list[Callable[[], dict[str, Any] | None]]
    checkpoints = [*(partial(load_if_there, path) for path in earlier), lambda: last]
    return look_back(checkpoints, task, keys, backend, workers)


def check_neurons(neurons: Sequence[int], state: Examined) -> None:
    """UserError for neurons that the model has not, or more of them than a film has room for."""
    d_mlp = state.tables.W_L.shape[0]
    beyond = [neuron for neuron in neurons if neuron >= d_mlp]
    if beyond:
        raise UserError(f"--neurons names {beyond[0]}, expected indices below {d_mlp}")
    if len(neurons) > scenes.FILMED:
        raise UserError(f"--neurons names {len(neurons)}, expected at most {scenes.FILMED}")


def render(
    directory: Path,
    state: Examined,
    measures: ProgressMeasures | None,
    backend: Backend,
    neurons: Sequence[int],
) -> Scenes:
    """What the pictures show: the film, all neurons, the circles."""
    keys = state.key_blocks()
    gallery, film = scenes.gallery(state, keys), None
    filmed = scenes.with_blocks(state, neurons) if neurons else scenes.best_neurons(gallery, keys)
    frames = scenes.frames_that_fit(state.modulus, len(filmed))
    if measures is not None and filmed and frames > 1:
        paths = trajectory.recorded(directory)
        epochs = scenes.film_epochs(measures, frames)
        earlier = (load_if_there(paths[e]) for e in epochs if e in paths and e < state.epoch)
        states = chain((examine(r, state.task, backend) for r in earlier if r), [state])
        film = scenes.film(states, keys, filmed)
    surfaces = scenes.final_surfaces(state, [neuron for neuron, _ in filmed])
    circles = []
    if state.task.group is not None and state.basis.kind == "frequency":
        circles = scenes.circles(state.embedding, keys, state.group)
    return Scenes(film, gallery, scenes.largest_circles(circles), surfaces)


def save_phases(directory: Path, phases: Phases, output: Path) -> None:
    """Label, in `output`, the run's recorded weights at the ends of circuit formation and cleanup."""
    recorded = trajectory.recorded(directory)
    for label in ("circuit_formation", "cleanup"):
        path, epoch = labeled_path(output, label), getattr(phases, label)
        weights = load_if_there(recorded[epoch]) if epoch in recorded else None
        if weights is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(exist_ok=True)
            save_checkpoint(path, weights)


def phases_so_far(directory: Path) -> detection.Detection:
    """When the run memorised, generalised and collapsed, by its histories so far."""
    if not (directory / names.ACCURACIES).exists():
        return detection.detect([], [], [])
    history = read_history(directory)
    series = (history.epochs, history.training_accuracies, history.validation_accuracies)
    if read_imported(directory) is not None:
        return detection.detect_between(*series)
    return detection.detect(*series, diverged=has_diverged(directory))


def has_diverged(directory: Path) -> bool:
    """Has the run in the folder ended with a loss that was not finite?"""
    finished = (directory / names.RESULT).exists()
    return finished and read_grokking(directory)["outcome"] == detection.DIVERGED


def earlier_state(directory: Path, last: Examined) -> Examined | None:
    """The recorded state nearest to three quarters of the run; None if none was recorded."""
    paths = trajectory.recorded(directory)
    before = sorted((e for e in paths if e < last.epoch), key=lambda e: abs(e - 0.75 * last.epoch))
    for epoch in before[:2]:  # the second if the first was thinned out meanwhile
        checkpoint = load_if_there(paths[epoch])
        if checkpoint is not None:
            return examine(checkpoint, last.task, last.backend)
    return None


def measure_states(state: Examined, keys: list[int], own_keys: list[int]) -> Measured:
    """What the card's rows need of one state; `keys` are the run's, `own_keys` this state's."""
    validation = state.validation_accuracy
    return Measured(
        epoch=state.epoch,
        validation_accuracy=validation,
        key_frequencies=own_keys,
        periodic_neurons=state.periodic_neurons(),
        residuals=circuit.output_residuals(state, keys),
        direction_fits=circuit.direction_fits(state, keys),
        cosines_explain=circuit.cosines_explain(state, keys),
        restricted_loss=state.restricted_loss(keys),
        excluded_loss=state.excluded_loss(keys),
        excluded_loss_all_pairs=state.excluded_loss(keys, np.arange(len(state.targets))),
        ablation=circuit.ablate(state, circuit.key_span(state, keys)),
    )


def findings_of(
    state: Examined,
    config: dict[str, Any],
    keys: list[int],
    phases: Phases | None,
    directory: Path,
) -> Findings:
    """Everything that the report card is filled from; `config` is that of config.json."""
    so_far, known = phases_so_far(directory), state.task.group is not None
    earlier = earlier_state(directory, state) if known else None
    return Findings(
        task=state.task,
        d_mlp=config["d_mlp"],
        weight_decay=config["weight_decay"],
        departures=list(departures(config)),
        epoch=state.epoch,
        validation_accuracy=state.validation_accuracy,
        now=measure_states(state, keys, keys) if known else None,
        earlier=None if earlier is None else measure_states(earlier, keys, earlier.key_blocks()),
        controls=draw_controls(state, keys) if known else None,
        phases=phases,
        outcome=so_far.outcome,
        grok_epoch=so_far.grok_epoch,
        collapse_epoch=so_far.collapse_epoch,
        imported=read_imported(directory) is not None,
        has_split=state.has_split,
    )
