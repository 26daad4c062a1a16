"""May this run go on in that folder? What is there, what it was computed with, and what differs.

Torch-free, so that a run and a sweep give one answer.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grokking.config import (
    FIELDS,
    IDENTITY,
    IN_USE,
    INEXACT,
    Config,
    command_line,
    identity,
    setting_in_words,
    split_seed_of,
    task_of,
)
from grokking.detection import DIVERGED, watched
from grokking.files import names
from grokking.files.branches import command_to_resume
from grokking.files.run_files import (
    FinishedRun,
    read_imported,
    read_run,
    read_settings,
    read_starts,
)
from grokking.files.surfaces import surface_path
from grokking.files.table_copy import read_copy
from grokking.laws import FILE
from grokking.system.errors import UserError

ELSEWHERE = "choose another folder with GROK_ARTIFACTS_DIR"


def finished_run(directory: Path, config: Config) -> FinishedRun | None:
    """The run in the folder, if it has reached the end that `config` sets, or has diverged.

    None if there is none, or if it is to go on. UserError names a file of it that is damaged.
    """
    if not (directory / names.RESULT).exists():
        return None
    run = read_run(directory)
    if run.grokking["outcome"] == DIVERGED:
        return run
    history = run.history
    if run.grokking["final_epoch"] not in (None, history.epochs[-1]):
        return None  # cut off while it went on
    watch = watched(history.epochs, history.training_accuracies, history.validation_accuracies)
    over = watch.is_over(history.epochs[-1], config.num_epochs, config.stop_after_grok)
    return run if over else None


def check_trained_here(directory: Path) -> None:
    """UserError if the folder holds imported weights, which cannot go on."""
    if read_imported(directory) is not None:
        raise UserError(
            f"{directory} holds imported weights: what they were trained with is not known, so they cannot "
            f"go on; set GROK_OVERWRITE=1 to train in their place, or {ELSEWHERE}"
        )


def check_same_experiment(directory: Path, old: Mapping[str, Any], config: Config) -> None:
    """UserError if a field that decides weights is not what it was; `old`: field -> value.

    A field that an older program did not know has its default.
    """
    defaults = {name: FIELDS[name].default for name in IDENTITY}
    before = {**defaults, **{name: old[name] for name in IDENTITY if name in old}}
    before["split_seed"] = split_seed_of(before)
    if before["task"].startswith(FILE):
        before["task"] = FILE + read_copy(directory).digest
    for name, now in identity(config, task_of(config)).items():
        if before[name] == now:
            continue
        then = before[name]
        if name == "task" and then.startswith(FILE):
            then = f"{FILE}{directory / names.TASK}"
        own = getattr(config, name)
        way = command_to_resume(directory) or setting_in_words(name, then)
        raise UserError(
            f"GROK_{name.upper()} is {'unset' if own is None else own}, but the run in {directory} has "
            f"{'none' if then is None else then}; resume with {way}, or {ELSEWHERE}"
        )


def check_reached(directory: Path, epoch: int, config: Config) -> None:
    """UserError if fewer epochs are asked for than the run has behind it."""
    if config.num_epochs < epoch:
        raise UserError(
            f"GROK_NUM_EPOCHS is {config.num_epochs}, but the run in {directory} has reached epoch "
            f"{epoch}; set it to {epoch} or more, or {ELSEWHERE}"
        )


def check_in_use(directory: Path, now: Mapping[str, Any], config: Config) -> bool:
    """Would the run go on with another kernel, device or thread count than it had?

    `now` holds those of this process as a start of config.json does. UserError if they differ and
    GROK_RESUME is not `inexact`: sums round differently, so the weights would not be the same.
    """
    if not (directory / names.CONFIG).exists():
        return False
    before = read_starts(directory)[-1]
    changed = {
        name: before[name]
        for name in IN_USE
        if before[name] is not None and kind_in_use(before[name]) != kind_in_use(now[name])
    }
    if changed and config.resume != INEXACT:
        differences = ", ".join(
            f"{name} {then} (now {now[name]})" for name, then in changed.items()
        )
        as_it_was = " ".join(setting_in_words(name, then) for name, then in changed.items())
        raise UserError(
            f"the run in {directory} was computed with {differences}, so it would not go on bit for bit; "
            f"set {as_it_was}, or GROK_RESUME={INEXACT} to go on all the same, which is recorded"
        )
    return bool(changed)


def kind_in_use(value: Any) -> Any:
    """A device without its number: every GPU of a kind computes the same."""
    return value.partition(":")[0] if isinstance(value, str) else value


def missing_neurons(directory: Path, config: Config) -> list[int]:
    """Neurons that are to be exported and have no surface in the folder."""
    return [n for n in config.exported_neurons if not surface_path(directory, n).exists()]


def command_to_go_on(directory: Path, num_epochs: int, named: str) -> str:
    """What to type to take the run in the folder further, to that epoch; `named` is the folder there."""
    chosen = {
        name: entry["value"]
        for name, entry in read_settings(directory).items()
        if name in FIELDS and entry.get("source", "default") != "default"
    }
    if chosen.get("task", "").startswith(FILE):
        chosen["task"] = f"{FILE}{Path(named) / names.TASK}"
    ended = {"stop_after_grok": None, "overwrite": None}
    going_on = {"num_epochs": num_epochs, "artifacts_dir": named, "resume": True}
    return command_line(chosen | ended | going_on)
