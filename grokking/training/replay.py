"""Train a run again up to one epoch, and hold every step against what the run has recorded."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from logging import getLogger
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grokking.config import IN_USE, Config
from grokking.detection import DIVERGED
from grokking.files import names, trajectory
from grokking.files.branches import read_branch
from grokking.files.checkpoint import Damaged, load_checkpoint
from grokking.files.continuation import check_same_experiment, kind_in_use
from grokking.files.folder import LABELS
from grokking.files.history import History, Probe, read_history
from grokking.files.run_files import read_grokking, read_starts
from grokking.system.environment import denormals_as_zero
from grokking.system.errors import Diverged, UserError
from grokking.system.signals import StopRequest
from grokking.task import Task
from grokking.training.engine import Engine, choose_engine
from grokking.training.loop import Watcher, advance, probe, timed, whole_score
from grokking.training.run import Machine, choose_machine
from grokking.training.state import TrainingState, from_record, history_of, new_state, weights_of

log = getLogger(__name__)
Record = dict[str, Any]  # the content of a checkpoint
OTHERWISE = "--inexact goes on from recorded weights, with fresh moments"


# --- what a run has recorded -------------------------------------------------------------------


def full_states(run: Path) -> list[Record]:
    """The intact checkpoints of a run that have moments, the newest epoch first.

    It only reads: the run may be training. A damaged one says nothing, the replay begins earlier.
    """
    records = []
    for name in (names.LATEST, names.PREVIOUS, names.FORK):
        try:
            records.append(load_checkpoint(run / f"{name}.pt"))
        except (Damaged, UserError):
            continue
    whole = [record for record in records if "optimizer" in record]
    return sorted(whole, key=lambda record: -int(record["epoch"]))


def known_history(run: Path, states: Sequence[Record]) -> History:
    """The probes that a run has behind it, as far as it could go on from.

    Of one that has not finished, those of its newest checkpoint: what is newer may be half written.
    """
    if (run / names.RESULT).exists():
        history = read_history(run)
        if history.epochs and read_grokking(run)["outcome"] == DIVERGED:
            return history.up_to(history.epochs[-1] - 1)
        return history
    if not states:
        raise UserError(f"{run} has no checkpoint yet; wait for the first one")
    return history_of(states[0])


def last_epoch(run: Path, history: History, states: Sequence[Record]) -> int:
    """The last epoch that a branch can begin at."""
    reached = [*history.epochs[-1:], *(int(record["epoch"]) for record in states)]
    if not reached:
        raise UserError(f"{run} has no probe to hold a replay against")
    return max(reached)


def recorded_weights(run: Path, at: int) -> dict[int, list[Path]]:
    """Epoch -> the files that hold the weights of a run at it, for the epochs up to `at`."""
    found = {epoch: [path] for epoch, path in trajectory.recorded(run).items() if epoch <= at}
    for label in LABELS:
        path = names.labeled_path(run, label)
        if path.exists() and (epoch := int(load_checkpoint(path)["epoch"])) <= at:
            found.setdefault(epoch, []).append(path)
    return found


# --- what it was computed with -----------------------------------------------------------------


def starts_up_to(run: Path, epoch: int) -> list[dict[str, Any]]:
    """The starts of config.json by which the run came to an epoch; the last one took it further."""
    return [start for start in read_starts(run) if (start["epoch"] or 0) <= epoch]


def changes_of_machine(starts: Sequence[Mapping[str, Any]]) -> list[int]:
    """The epochs at which a run went on with another kernel, device or thread count."""
    line: list[Mapping[str, Any]] = []  # the starts of which steps remain
    for start in starts:
        line = [earlier for earlier in line if (earlier["epoch"] or 0) < (start["epoch"] or 0)]
        line.append(start)
    return [
        int(now["epoch"] or 0)
        for before, now in pairwise(line)
        if now["inexact"] or _in_use(before) != _in_use(now)
    ]


def _in_use(start: Mapping[str, Any]) -> list[Any]:
    return [kind_in_use(start[name]) for name in IN_USE]


def as_it_was(config: Config, start: Mapping[str, Any]) -> Config:
    """The settings with the kernel, the device and the threads that a start had in use."""
    used = {name: start[name] for name in IN_USE if start[name] is not None}
    return replace(config, **used)


def machine_as_it_was(
    run: Path, config: Config, start: Mapping[str, Any], exact: bool
) -> tuple[Machine, Config]:
    """The machine of that start and its settings; where this one lacks it UserError, or what it has."""
    pinned = as_it_was(config, start)
    try:
        return choose_machine(pinned), pinned
    except UserError as error:
        if exact:
            raise UserError(
                f"{run} was computed with kernel {pinned.kernel} on {pinned.device}, which this machine "
                f"cannot do ({error}); {OTHERWISE}"
            ) from error
    here = choose_machine(replace(config, kernel="auto", device="auto"))
    return here, replace(
        config, kernel=here.backend.name, device=str(here.device), threads=here.backend.threads
    )


# --- the replay --------------------------------------------------------------------------------


@dataclass
class Recorded:
    """What a replay is held against."""

    run: Path
    history: History  # up to the epoch of the fork
    weights: dict[int, list[Path]]  # epoch -> files

    def __post_init__(self) -> None:
        self.compared = 0  # recorded weights, so far
        self.probes: dict[int, Probe] = {probe[0]: probe for probe in self.history.probes}

    def check_history(self, state: TrainingState) -> None:
        """UserError at the first probe up to the state that it has otherwise than recorded."""
        own = {probe[0]: probe for probe in state.history.probes}
        known = [epoch for epoch in self.probes if epoch <= state.epoch]
        for epoch in sorted({*own, *known}):
            if own.get(epoch) != self.probes.get(epoch):
                raise self.differs(epoch, "its losses and accuracies")

    def check_probe(self, state: TrainingState) -> None:
        """UserError if the state's probe, its last, is not the recorded one."""
        if state.history.last != self.probes[state.epoch]:
            raise self.differs(state.epoch, "its losses and accuracies")

    def check_weights(self, state: TrainingState) -> None:
        """UserError if weights that were recorded at the state's epoch are not its own, bit for bit."""
        own = None
        for path in self.weights.get(state.epoch, ()):
            if not path.exists():
                continue  # a run in progress thins its trajectory
            own = own or weights_of(state.model)
            recorded = load_checkpoint(path)["model"]
            for name, weight in own.items():
                if not same_bits(weight, recorded.get(name)):
                    raise self.differs(state.epoch, f"{name} in {path}")
            self.compared += 1

    def differs(self, epoch: int, what: str) -> UserError:
        return UserError(
            f"{self.run}: trained again, epoch {epoch:,} does not come out as it was recorded ({what}): "
            f"another processor, build or library, or a changed file; {OTHERWISE}"
        )


def same_bits(ours: Tensor, theirs: Tensor | None) -> bool:
    """Are two tensors on the CPU the same to the last bit?"""
    if theirs is None or ours.dtype != theirs.dtype or ours.shape != theirs.shape:
        return False
    a, b = (t.contiguous().reshape(-1).view(torch.uint8) for t in (ours, theirs))
    return bool(a.equal(b))


def replay(
    run: Path,
    config: Config,
    task: Task,
    at: int,
    watching: Callable[[int, int], Watcher],
    stop: StopRequest,
) -> tuple[TrainingState, Config] | None:
    """The full state of a run at an epoch, probed if the run has probed it, and how it was computed.

    `config`: its settings, which become those of the machine in use. None if `stop` came first.
    UserError, with the epoch, where the run cannot be repeated bit for bit; nothing is written.
    """
    states = full_states(run)
    history = known_history(run, states)
    last = last_epoch(run, history, states)
    if at > last:
        raise UserError(
            f"--at is {at:,}, but {run} has come to epoch {last:,}; expected 0 to {last:,}"
        )
    base = next((record for record in states if record["epoch"] <= at), None)
    begin = 0 if base is None else int(base["epoch"])
    if base is None and (branch := read_branch(run)) is not None:
        raise UserError(
            f"--at is {at:,}, but {run} is itself a branch that begins at epoch {branch.at:,}; branch "
            f"{branch.name}, the run that it forks from"
        )
    for epoch in changes_of_machine(starts_up_to(run, at)):
        if epoch > begin:
            raise UserError(
                f"{run} went on with another kernel, device or thread count at epoch {epoch:,}, so that "
                f"epoch {at:,} cannot be repeated bit for bit; {OTHERWISE}"
            )
    machine, pinned = machine_as_it_was(run, config, starts_up_to(run, begin)[-1], exact=True)
    torch.set_num_threads(machine.backend.torch_threads)
    state = _begun(run, base, pinned, task, machine)
    recorded = Recorded(run, history.up_to(at), recorded_weights(run, at))
    if base is not None:
        recorded.check_history(state)
    if begin < at:
        log.info(
            f"replaying {run} to epoch {at:,} from epoch {begin:,}; nothing is written until then"
        )
    engine = choose_engine(task, state.split, machine.device, machine.backend)
    watcher = watching(begin, at)
    try:
        with denormals_as_zero():
            _train_again(state, engine, recorded, at, watcher, stop)
    except Diverged as error:
        raise recorded.differs(state.epoch, "it diverged") from error
    finally:
        watcher.close()
    if stop.number is not None:
        return None
    log.info(
        f"epoch {at:,} of {run} stands: {recorded.compared} recorded weights and {len(state.history.epochs):,} "
        "probes on the way came out bit for bit"
    )
    return state, pinned


def _begun(
    run: Path, base: Record | None, config: Config, task: Task, machine: Machine
) -> TrainingState:
    """The state that the replay begins with."""
    if base is None:
        return new_state(config, machine.device, task)
    check_same_experiment(run, base["config"], config)
    return from_record(base, config, machine.device, task)


def _train_again(
    state: TrainingState,
    engine: Engine,
    recorded: Recorded,
    at: int,
    watcher: Watcher,
    stop: StopRequest,
) -> None:
    """Up to epoch `at`, probing where the run has probed; the state at `at` has not stepped on."""
    begin, in_batches, lost = state.epoch, state.config.batch_size is not None, False
    while True:
        probed = state.epoch in recorded.probes and state.epoch not in state.history.epochs[-1:]
        if state.epoch == at and not probed:
            step = None
        else:
            with timed(state):
                step = None
                if not in_batches:
                    step = engine.training_step(state.model, engine.train, class_sums=probed)
                    lost = not math.isfinite(step.score.loss)
                if lost:
                    raise Diverged(f"the loss is not finite at epoch {state.epoch}")
                if probed:
                    probe(state, engine, step.score if step else whole_score(state, engine, probed))
        if probed:
            recorded.check_probe(state)
        recorded.check_weights(state)
        state.kept = {e: w for e, w in state.kept.items() if e in state.watch.waiting}
        if state.epoch > begin:
            watcher.update(state.epoch, state.history)
        if state.epoch == at or stop.number is not None:
            return
        with timed(state):
            lost = advance(state, engine, step)
