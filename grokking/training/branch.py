"""A branch: the full state of a run at one epoch, gone on from with other settings.

fork = fork_state(run, at, watching, stop)      # once, and nothing is written
write_branch(fork, folder, {"weight_decay": 0.0})   # as often as wanted
train_branch(folder, watching, stop)
"""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

import torch

from grokking.config import IN_USE, INEXACT, Config, Loaded, as_record, identity
from grokking.files import measures, names, trajectory
from grokking.files.branches import (
    CLAMP,
    SOURCE,
    Branch,
    Changes,
    changed,
    check_begun,
    check_target,
    read_branch,
    real_changes,
    relative,
)
from grokking.files.checkpoint import load_checkpoint, save_checkpoint
from grokking.files.folder import claimed, clear
from grokking.files.history import write_history
from grokking.files.json_files import write_json
from grokking.files.run_files import read_config, read_imported, read_loaded, read_starts, read_task
from grokking.files.table_copy import write_copy
from grokking.laws import FILE
from grokking.system.errors import RunError, UserError
from grokking.system.signals import StopRequest
from grokking.training.clamp import Clamp, squares_of
from grokking.training.loop import Watcher, is_last
from grokking.training.replay import (
    full_states,
    known_history,
    last_epoch,
    machine_as_it_was,
    recorded_weights,
    replay,
    starts_up_to,
)
from grokking.training.run import Ended, config_record, train_run
from grokking.training.state import TrainingState, append_probe, new_state, to_record

log = getLogger(__name__)
Watching = Callable[[int, int], Watcher]
ELSEWHERE = "choose another folder with --output"


class Fork(NamedTuple):
    """The full state of a run at an epoch, from which any number of branches can be written."""

    run: Path
    state: TrainingState
    loaded: Loaded  # the run's settings, with the kernel, device and threads that it had in use
    starts: list[dict[str, Any]]  # of config.json, those up to there
    exact: bool  # False: recorded weights, fresh moments

    @property
    def at(self) -> int:
        return self.state.epoch


def check_branchable(run: Path) -> None:
    """UserError for a folder without a run of ours that training could go on from. Torch-free."""
    if not (run / names.CONFIG).exists():
        raise UserError(f"{run} holds no run; expected the folder of one")
    if read_imported(run) is not None:
        raise UserError(
            f"{run} holds imported weights: what they were trained with is not known, so no branch of them "
            "can go on"
        )


def fork_state(
    run: Path, at: int, watching: Watching, stop: StopRequest, exact: bool = True
) -> Fork | None:
    """The state of a run at epoch `at`; None if `stop` came first. Nothing is written.

    `exact`: trained again from the newest full state at or before it and compared with all that is
    recorded on the way, else UserError with the epoch. Otherwise the weights recorded at that epoch,
    with fresh moments.
    """
    check_branchable(run)
    loaded = read_loaded(run)
    recorded_task = loaded.config.task
    here = replace(loaded.config, task=_own_task(run, recorded_task), resume=False, overwrite=False)
    if exact:
        found = replay(run, here, read_task(run), at, watching, stop)
        if found is None:
            return None
        state, config = found
    else:
        state, config = _from_weights(run, here, at)
    sources = loaded.sources | dict.fromkeys(IN_USE, SOURCE)
    pinned = Loaded(replace(config, task=recorded_task), sources)
    return Fork(run, state, pinned, starts_up_to(run, at), exact)


def _own_task(folder: Path, task: str) -> str:
    """The task of a run by the copy of the table that its folder holds."""
    return f"{FILE}{folder / names.TASK}" if task.startswith(FILE) else task


def _from_weights(run: Path, config: Config, at: int) -> tuple[TrainingState, Config]:
    """A state of recorded weights, the history up to there, and fresh moments."""
    states = full_states(run)
    history, paths = known_history(run, states), recorded_weights(run, at)
    if at not in paths:
        epochs = sorted(recorded_weights(run, last_epoch(run, history, states)))
        near = sorted(sorted(epochs, key=lambda e: abs(e - at))[:4])
        nearest = f"; the nearest are {', '.join(f'{e:,}' for e in near)}" if near else ""
        raise UserError(f"{run} has no recorded weights of epoch {at:,}{nearest}")
    machine, pinned = machine_as_it_was(run, config, starts_up_to(run, at)[-1], exact=False)
    torch.set_num_threads(machine.backend.torch_threads)
    state = new_state(pinned, machine.device, read_task(run))
    state.model.load_state_dict(load_checkpoint(paths[at][0])["model"])
    state.epoch = at
    nan = float("nan")
    for epoch, *values in history.up_to(at).probes:
        append_probe(state, epoch, *(nan if value is None else value for value in values))
    state.kept = {
        e: load_checkpoint(paths[e][0])["model"] for e in state.watch.waiting if e in paths
    }
    log.info(f"starting from the recorded weights of epoch {at:,}, with fresh moments: not exact")
    return state, pinned


# --- writing a branch --------------------------------------------------------------------------


def write_branch(fork: Fork, directory: Path, changes: Changes) -> None:
    """Make the folder of a branch: all that its run had at the fork, and the state that it begins with.

    `changes`: name -> value, of `branches.CHANGEABLE`. UserError for what cannot be, before anything is
    written; whatever else fails leaves nothing of it.
    """
    loaded, state = changed(fork.loaded, fork.at, changes), fork.state
    if is_last(replace(state, config=loaded.config)):
        raise UserError(
            f"nothing would be left to train: by its stop rule {fork.run} is over at epoch {fork.at:,}; "
            "fork earlier"
        )
    branch = Branch(
        relative(fork.run, directory),
        fork.run.resolve().name,
        fork.at,
        real_changes(fork.loaded.config, changes),
        _before(fork, changes),
        fork.exact,
        changes.get(CLAMP, None if fork.state.clamp is None else fork.state.clamp.factor),
    )
    with claimed(directory):
        check_target(directory, ELSEWHERE)
        clear(directory)
        try:
            _write(fork, directory, loaded, branch)
        except BaseException:
            clear(directory)
            raise


def _before(fork: Fork, changes: Changes) -> dict[str, Any]:
    clamp = fork.state.clamp
    was = {CLAMP: None if clamp is None else clamp.factor} | vars(fork.loaded.config)
    return {name: was[name] for name in real_changes(fork.loaded.config, changes)}


def _write(fork: Fork, directory: Path, loaded: Loaded, branch: Branch) -> None:
    """config.json first, which claims the folder for a branch; last the state that it goes on from."""
    settings = as_record(replace(loaded.config, artifacts_dir=str(directory)))
    content = config_record(settings, loaded.sources, fork.starts, branch)
    write_json(directory / names.CONFIG, content)
    if fork.state.task.table:
        write_copy(directory, fork.state.task.table)
    _copy_weights(fork, directory)
    measures.copy_until(fork.run, directory, fork.at)
    write_history(directory, fork.state.history)
    save_checkpoint(directory / f"{names.FORK}.pt", _first_record(fork, loaded, branch.changes))


def _copy_weights(fork: Fork, directory: Path) -> None:
    """The recorded trajectory up to the fork, and the labels that the run had reached there."""
    state = fork.state
    labels = [label for label, epoch in state.reached.items() if epoch <= fork.at]
    if state.watch.grokked:
        labels.append("grokked")
    paths = [path for epoch, path in trajectory.recorded(fork.run).items() if epoch <= fork.at]
    paths += [names.labeled_path(fork.run, label) for label in labels]
    try:
        for path in paths:
            target = directory / path.relative_to(fork.run)
            target.parent.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # a run in progress thins its trajectory
                _copy(path, target)
    except OSError as error:
        raise RunError(f"cannot copy the weights of {fork.run}: {error.strerror}") from error


def _copy(path: Path, target: Path) -> None:
    """The same file under another name, where the disk has hard links: no recorded file is ever changed."""
    try:
        os.link(path, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(path, target)


def _first_record(fork: Fork, loaded: Loaded, changes: Changes) -> dict[str, Any]:
    """The checkpoint that a branch begins with: fresh moments for another optimiser, and its clamp."""
    state, record = fork.state, to_record(fork.state)
    record["config"] = identity(loaded.config, state.task)
    if "optimizer" in changes:
        record["optimizer"] = {}
    if CLAMP in changes:
        record["clamp"] = Clamp(changes[CLAMP], squares_of(state.model))._asdict()
    return record


# --- training it -------------------------------------------------------------------------------


def train_branch(
    directory: Path, watching: Watching, stop: StopRequest, inexact: bool = False
) -> Ended:
    """Train the branch in a folder to its end, or go on with it, on what its run was computed with.

    `inexact`: on this machine's own, where it lacks that. UserError for a folder without a branch.
    """
    if not (directory / names.CONFIG).exists() or (branch := read_branch(directory)) is None:
        raise UserError(
            f"{directory} holds no branch; expected a folder that `grokking branch` has made"
        )
    check_begun(directory)
    loaded, start = read_loaded(directory), read_starts(directory)[-1]
    inexact = inexact or not branch.exact
    _, config = machine_as_it_was(directory, loaded.config, start, exact=not inexact)
    config = replace(
        config,
        task=_own_task(directory, read_config(directory)["task"]),
        artifacts_dir=str(directory),
        resume=INEXACT if inexact else True,
        overwrite=False,
    )
    sources = loaded.sources | dict.fromkeys((*IN_USE, "artifacts_dir", "resume"), SOURCE)
    return train_run(Loaded(config, sources | {"overwrite": "default"}), watching, stop)
