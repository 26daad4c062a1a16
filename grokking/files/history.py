"""The histories of a run: loss_history.json and accuracy_history.json. Torch-free."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

from grokking.files import names
from grokking.files.json_files import LARGEST_JSON, finite_or_none, read_record, write_json
from grokking.schema import (
    AMOUNT,
    FRACTION,
    VERSION,
    or_null,
)

Series = list[float | None]
Probe = tuple[int, float | None, float | None, float | None, float | None]


@dataclass(frozen=True)
class History:
    """One entry per probed epoch; epoch e is the state after e steps; None marks a non-finite value.

    Of imported weights whose split is not known, `training` is None throughout and `validation` is of all
    pairs.
    """

    epochs: list[int]
    training_losses: Series
    validation_losses: Series
    training_accuracies: Series
    validation_accuracies: Series

    @property
    def has_split(self) -> bool:
        """Is it known which pairs were trained on?"""
        trained, others = (
            any(value is not None for value in series)
            for series in (self.training_accuracies, self.validation_losses)
        )
        return trained or not others

    @property
    def probes(self) -> list[Probe]:
        """One tuple a probe: its epoch and its four values, in the order of the fields."""
        columns = (getattr(self, field.name) for field in fields(self))
        return list(zip(*columns, strict=True))

    @property
    def last(self) -> Probe:
        """The last probe, of a history that has one."""
        epoch, *values = (getattr(self, field.name)[-1] for field in fields(self))
        return (epoch, *values)

    def up_to(self, epoch: int) -> "History":
        """The probes of the epochs up to this one."""
        count = sum(e <= epoch for e in self.epochs)
        return History(*(getattr(self, field.name)[:count] for field in fields(self)))

    def since(self, epoch: int) -> "History":
        """The last probe of the epochs up to this one, and all after it."""
        count = sum(e <= epoch for e in self.epochs[1:])
        return History(*(getattr(self, field.name)[count:] for field in fields(self)))


_HISTORY_FILES = {names.LOSSES: "losses", names.ACCURACIES: "accuracies"}
_HISTORY_VALUES = {"losses": or_null(AMOUNT), "accuracies": or_null(FRACTION)}


def write_history(directory: Path, history: History) -> None:
    """Write loss_history.json and accuracy_history.json."""
    for name, what in _HISTORY_FILES.items():
        record: dict[str, object] = {"schema_version": VERSION, "epochs": history.epochs}
        for part in ("training", "validation"):
            series: Iterable[float | None] = getattr(history, f"{part}_{what}")
            record[f"{part}_{what}"] = [v if v is None else finite_or_none(v) for v in series]
        write_json(directory / name, record)


def _entries_of_all_lists(file: IO[bytes]) -> int:
    """The numbers of a history file: its three lists are as long as the first."""
    entries = 0
    for _ in range(LARGEST_JSON >> 20):
        block, end, _ = file.read(1 << 20).partition(b"]")
        entries += block.count(b",")
        if end:
            break
    return 3 * entries


def read_history(directory: Path) -> History:
    """Read both history files of a run and check that they belong together."""
    columns: dict[str, list[Any]] = {}
    for name, what in _HISTORY_FILES.items():
        record = read_record(directory / name, _entries_of_all_lists)
        epochs = record.epochs()
        if columns.setdefault("epochs", epochs) != epochs:
            raise record.fail("'epochs' differs from the one in loss_history.json")
        for key in (f"{part}_{what}" for part in ("training", "validation")):
            columns[key] = record.series(key, _HISTORY_VALUES[what], like="epochs")
    return History(**columns)
