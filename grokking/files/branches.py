"""What makes a run a branch: the run that it forks from, the epoch, what changes there. Torch-free.

A branch is a run like any other; config.json tells of its fork under `branch`.
"""

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from grokking.config import FIELDS, UNUSED, Config, Loaded
from grokking.files import names
from grokking.files.folder import check_free
from grokking.files.history import History, read_history
from grokking.files.json_files import read_record, write_json
from grokking.schema import (
    BOOLEAN,
    EPOCH,
    OBJECT,
    VERSION,
    Kind,
    Record,
    or_null,
    real,
    string,
)
from grokking.system.errors import RunError, UserError

SOURCE = "branch"  # in config.json, of a setting that the fork has changed or fixed
CLAMP = "clamp_norm"  # the one change that is no setting of a run
CHANGED_FIELDS = ("weight_decay", "learning_rate", "beta1", "beta2", "optimizer", "num_epochs")
CHANGEABLE: dict[str, Kind] = {
    **{name: FIELDS[name].metadata["kind"] for name in CHANGED_FIELDS},
    CLAMP: real(lambda v: v > 0, "a number > 0"),
}
Changes = Mapping[str, Any]  # name -> value, of CHANGEABLE


class Branch(NamedTuple):
    """The `branch` of a config.json."""

    run: str  # folder of the run that it forks from, as seen from the branch's own
    name: str  # of that folder, when the branch was made
    at: int  # the epoch of the fork
    changes: dict[str, Any]  # name -> value from there on
    before: dict[str, Any]  # name -> value up to there
    exact: bool  # False: from recorded weights, with fresh moments
    clamp: float | None = (
        None  # the factor at which the norm is held, by this branch or one before it
    )


_FOLDER = string(bool, "a folder name")
_KINDS = {
    **dict.fromkeys(("run", "name"), _FOLDER),
    "at": EPOCH,
    **dict.fromkeys(("changes", "before"), OBJECT),
    "exact": BOOLEAN,
}


_HELD = "clamp"


def read_branch(directory: Path) -> Branch | None:
    """Where the run in a folder forks from, by its config.json; None for one that is no branch."""
    record = read_record(directory / names.CONFIG)
    values = record.get("branch", or_null(OBJECT), None)
    if values is None:
        return None
    told = Record(f"{record.name}: 'branch'", values)
    clamp = told.get(_HELD, or_null(CHANGEABLE[CLAMP]), None)
    branch = Branch(**{key: told.get(key, kind) for key, kind in _KINDS.items()}, clamp=clamp)
    for key, changes in (("changes", branch.changes), ("before", branch.before)):
        for name, value in changes.items():
            if name not in CHANGEABLE:
                raise told.fail(f"'{key}' names {name!r}, expected {', '.join(CHANGEABLE)}")
            kind = CHANGEABLE[name]
            told.checked(f"'{key}' field '{name}'", value, or_null(kind) if name == CLAMP else kind)
    return branch


# --- changes -----------------------------------------------------------------------------------


def parse_changes(words: Sequence[str]) -> dict[str, Any]:
    """The changes of `NAME=VALUE` words; UserError in one line for the first that is none."""
    changes: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise UserError(f"{word!r} is no change, expected NAME=VALUE, as weight_decay=0")
        check_name(name)
        if name in changes:
            raise UserError(f"{name} is changed twice, expected once")
        changes[name] = CHANGEABLE[name].parse(text.strip())
        if changes[name] is None:
            raise UserError(f"{name} is {text!r}, expected {CHANGEABLE[name].expected}")
    return changes


def check_name(name: str) -> None:
    """UserError for what no branch can change, with the name that may have been meant."""
    if name not in CHANGEABLE:
        near = difflib.get_close_matches(name, CHANGEABLE, 1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise UserError(
            f"a branch cannot change {name!r}{meant}; it can change {', '.join(CHANGEABLE)}"
        )


def check_changes(changes: Changes) -> None:
    """UserError for a name or a value, as Python has it, that no branch can have."""
    for name, value in changes.items():
        check_name(name)
        if not CHANGEABLE[name].accepts(value):
            raise UserError(f"{name} is {value!r}, expected {CHANGEABLE[name].expected}")


def real_changes(config: Config, changes: Changes) -> dict[str, Any]:
    """Those that do change a setting: a branch of the run's own value is its control arm."""
    return {n: v for n, v in changes.items() if n == CLAMP or getattr(config, n) != v}


def changed(loaded: Loaded, at: int, changes: Changes) -> Loaded:
    """The settings of a branch that forks at an epoch; UserError for what cannot be together."""
    new: dict[str, Any] = {
        name: v for name, v in real_changes(loaded.config, changes).items() if name != CLAMP
    }
    sources = loaded.sources | dict.fromkeys(new, SOURCE)
    for name in UNUSED.get(new.get("optimizer", loaded.config.optimizer), ()):
        if name in changes:
            raise UserError(f"{name} is changed, but the optimizer of the branch has no use for it")
        new[name], sources[name] = FIELDS[name].default, "default"
    config = replace(loaded.config, **new)
    if config.num_epochs <= at:
        raise UserError(
            f"nothing would be left to train: the branch begins at epoch {at:,} and ends at num_epochs "
            f"{config.num_epochs:,}; add num_epochs=N with more, or fork earlier"
        )
    return Loaded(config, sources)


def check_same_branch(directory: Path, at: int, changes: Changes) -> None:
    """UserError if the folder holds no branch, or one of another epoch or with other changes."""
    branch = read_branch(directory)
    if branch is None:
        raise UserError(f"{directory} holds a run that is no branch; choose another folder")
    if (branch.at, branch.changes) != (at, changes):
        own = ", ".join(f"{name}={value}" for name, value in branch.changes.items()) or "no change"
        raise UserError(
            f"{directory} holds a branch at epoch {branch.at} with {own}; ask for the same to go on with it, "
            "or choose another folder"
        )


# --- a folder of branches ----------------------------------------------------------------------


class Arms(NamedTuple):
    """What a folder of branches is to hold."""

    run: str  # as seen from the folder
    at: int
    exact: bool
    changes: dict[str, dict[str, Any]]  # by the name of the branch's folder


def write_arms(directory: Path, arms: Arms) -> None:
    """Create the folder with the plan of its branches. RunError if the disk refuses."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot create {directory}: {error.strerror}") from error
    write_json(directory / names.ARMS, {"schema_version": VERSION, **arms._asdict()})


def read_arms(directory: Path) -> Arms | None:
    """The plan of a folder of branches; None if it has none. UserError names a damaged one."""
    if not (directory / names.ARMS).exists():
        return None
    record = read_record(directory / names.ARMS)
    changes = record.get("changes", OBJECT)
    for name, of_arm in changes.items():
        if "/" in name or name in ("", ".", ".."):
            raise record.fail(
                f"'changes' names the folder {name!r}, expected a name within this one"
            )
        check_changes(record.checked(f"'changes' field {name!r}", of_arm, OBJECT))
    run, at, exact = (record.get(key, _KINDS[key]) for key in ("run", "at", "exact"))
    return Arms(run, at, exact, changes)


# --- a branch that goes on ---------------------------------------------------------------------


def command_to_resume(directory: Path) -> str | None:
    """What to type to go on with the branch in a folder; None if that holds none."""
    if not (directory / names.CONFIG).exists() or read_branch(directory) is None:
        return None
    return f"python -m grokking branch --resume {quote(str(directory))}"


def is_cut_off(directory: Path) -> bool:
    """Does the folder hold a branch that was killed while it was made, before it could train?"""
    if not (directory / names.CONFIG).exists() or read_branch(directory) is None:
        return False
    states = (names.LATEST, names.PREVIOUS, names.FORK)
    return not any((directory / f"{name}.pt").exists() for name in states)


def check_target(directory: Path, advice: str) -> None:
    """UserError if the folder holds a run; a branch that was cut off while it was made may be replaced."""
    if is_cut_off(directory):
        return
    check_free(directory, advice)
    if directory.is_dir() and any(path.name != names.LOCK for path in directory.iterdir()):
        raise UserError(f"{directory} is not empty; {advice}")


def check_begun(directory: Path) -> None:
    """UserError for such a branch: nothing is there to go on from."""
    if is_cut_off(directory):
        raise UserError(
            f"{directory} holds a branch without the state that it begins with; make it again with "
            "`grokking branch RUN --at EPOCH --output DIR`"
        )


# --- the other arm -----------------------------------------------------------------------------


class Arm(NamedTuple):
    """The run beside its branch, from the fork on."""

    at: int  # the epoch of the fork
    history: History | None  # of the run, from the fork on; None where it cannot be shown
    missing: str = ""  # why


def relative(run: Path, directory: Path) -> str:
    """The folder of a run as seen from a branch's, so that both can move together."""
    return os.path.relpath(run.resolve(), directory.resolve())


def other_arm(directory: Path, history: History) -> Arm | None:
    """The run that a branch with this history forks from; None where the folder holds no branch."""
    if not (directory / names.CONFIG).exists() or (branch := read_branch(directory)) is None:
        return None
    folder = directory / branch.run
    if not (folder / names.LOSSES).exists():
        return Arm(branch.at, None, f"its folder is no longer where it was ({branch.run})")
    try:
        run = read_history(folder)
    except UserError:
        return Arm(branch.at, None, f"its history cannot be read ({branch.run})")
    shared = run.up_to(branch.at).probes  # of a run in progress perhaps not yet all
    if shared != history.up_to(branch.at).probes[: len(shared)]:
        return Arm(branch.at, None, f"its folder holds another run now ({branch.run})")
    return Arm(branch.at, run.since(branch.at))
