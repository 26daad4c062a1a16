"""What a run's config.json and grokking.json tell, and a finished run as a whole. Torch-free."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokking.config import FIELDS, Config, Loaded, recorded_kind, split_seed_of
from grokking.detection import OUTCOMES, outcome
from grokking.files import names
from grokking.files.history import History, read_history
from grokking.files.json_files import read_record
from grokking.files.table_copy import read_copy
from grokking.laws import FILE
from grokking.schema import (
    AMOUNT,
    BOOLEAN,
    EPOCH,
    FRACTION,
    NATURAL,
    OBJECT,
    WORD,
    Record,
    choice,
    list_of,
    or_null,
    shown,
)
from grokking.system.errors import UserError

if TYPE_CHECKING:
    from grokking.task import Task


@dataclass(frozen=True)
class FinishedRun:
    """A finished run as its files tell it."""

    directory: Path
    config: dict[str, Any]  # field -> value
    starts: list[dict[str, Any]]  # see read_starts
    history: History
    grokking: dict[str, Any]  # the fields of grokking.json
    imported: dict[str, Any] | None  # see read_imported


# The entry of a setting that imported weights were trained with.
UNKNOWN = {"value": None, "source": "unknown"}


def read_config(directory: Path) -> dict[str, Any]:
    """Field -> value of a run's config.json; a field that an older file lacks has its default."""
    return {**asdict(Config()), **{k: e["value"] for k, e in read_settings(directory).items()}}


def read_loaded(directory: Path) -> Loaded:
    """The Config of the run in a folder, and where each value came from."""
    values, entries = read_config(directory), read_settings(directory)
    fields = {name: values[name] for name in FIELDS}
    if isinstance(fields["neurons"], list):
        fields["neurons"] = tuple(fields["neurons"])
    sources = {name: str(entries.get(name, {}).get("source", "default")) for name in FIELDS}
    return Loaded(Config(**fields), sources)


def read_task(directory: Path) -> "Task":
    """The task of the run in a folder, which holds a copy of a table that it learns."""
    values = read_config(directory)
    from grokking.task import make_task  # which needs numpy

    table = read_copy(directory) if values["task"].startswith(FILE) else None
    return make_task(values["task"], values["modulus"], split_seed_of(values), table)


def read_settings(directory: Path) -> dict[str, dict[str, Any]]:
    """Field -> its entry in a run's config.json: `value`, which may stand there, and `source`."""
    record = read_record(directory / names.CONFIG)
    fields: dict[str, dict[str, Any]] = record.get("config", OBJECT)
    for name, entry in fields.items():
        if not OBJECT.accepts(entry) or "value" not in entry:
            raise record.fail(f"'config' field {shown(name)} has no 'value'")
        if name in FIELDS and entry != UNKNOWN:
            record.checked(f"'config' field '{name}'", entry["value"], recorded_kind(name))
    return fields


_IMPORTED = {
    **dict.fromkeys(("file", "form"), WORD),
    "training_pairs": or_null(NATURAL),  # how many; null: the split is not known
    "changes": list_of(WORD),  # what was cut, folded or rounded, in words
}


def read_imported(directory: Path) -> dict[str, Any] | None:
    """Where imported weights came from, by config.json; None for a run that was trained here."""
    record = read_record(directory / names.CONFIG)
    values = record.get("imported", or_null(OBJECT), None)
    if values is None:
        return None
    told = Record(f"{record.name}: 'imported'", values)
    return {key: told.get(key, kind) for key, kind in _IMPORTED.items()}


_START = {
    "epoch": or_null(EPOCH),
    "inexact": BOOLEAN,
    **dict.fromkeys(("time", "device", "device_name", "threads", "kernel"), or_null(WORD)),
    "kernel_reason": or_null(WORD),
    "versions": or_null(OBJECT),
}


def read_starts(directory: Path) -> list[dict[str, Any]]:
    """What config.json tells of each start and resume, oldest first; of a run of 0.1.0, its last.

    What it does not tell is None.
    """
    record = read_record(directory / names.CONFIG)
    entries = record.series("starts", OBJECT, default=[record.values]) or [record.values]
    starts = [Record(f"{record.name}: 'starts'[{n}]", start) for n, start in enumerate(entries)]
    unknown = {**dict.fromkeys(_START), "inexact": False}
    return [{key: s.get(key, kind, unknown[key]) for key, kind in _START.items()} for s in starts]


_EPOCHS = ("memorization_epoch", "generalization_epoch", "grok_epoch")
_RESULT = {
    **dict.fromkeys(_EPOCHS, or_null(EPOCH)),
    **dict.fromkeys(("final_training_accuracy", "final_validation_accuracy"), or_null(FRACTION)),
    **dict.fromkeys(("seconds", "epochs_per_second"), or_null(AMOUNT)),
    "grokked": BOOLEAN,
}
_OUTCOME = choice("|".join(OUTCOMES), ", ".join(OUTCOMES))


def read_grokking(directory: Path) -> dict[str, Any]:
    """The checked content of grokking.json, the last file that a run writes.

    `outcome` and `collapse_epoch`, which older files lack, are there: told by the epochs, and None.
    """
    record = read_record(directory / names.RESULT)
    values = record.values | {key: record.get(key, kind) for key, kind in _RESULT.items()}
    if values["grokked"] != (values["grok_epoch"] is not None):
        raise record.fail("'grokked' and 'grok_epoch' contradict each other")
    by_epochs = outcome(values["memorization_epoch"], values["generalization_epoch"])
    values["outcome"] = record.get("outcome", _OUTCOME, by_epochs)
    for key in ("collapse_epoch", "final_epoch"):
        values[key] = record.get(key, or_null(EPOCH), None)
    return values


def read_run(directory: Path) -> FinishedRun:
    """Read a finished run's folder; UserError names the first file that is missing or damaged."""
    config, starts, history = (
        read_config(directory),
        read_starts(directory),
        read_history(directory),
    )
    if not history.epochs:
        raise UserError(f"{directory / names.LOSSES}: 'epochs' is empty")
    grokking = read_grokking(directory)
    for key in _EPOCHS:
        if (grokking[key] or 0) > history.epochs[-1]:
            raise UserError(
                f"{directory / names.RESULT}: '{key}' is {shown(grokking[key])}, after the last epoch "
                f"{history.epochs[-1]}"
            )
    return FinishedRun(directory, config, starts, history, grokking, read_imported(directory))
