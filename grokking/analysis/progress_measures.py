"""A run's progress measures as a record and its file, progress_measures.json. Torch-free.

Derived after the run from the recorded weights (see hindsight.py), with the key frequencies of
the final model. All lists run over the recorded epochs; null marks a value that is not finite.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from grokking.files import names
from grokking.files.history import Series
from grokking.files.json_files import finite_or_none, read_record, write_json
from grokking.schema import FINITE, NATURAL, VERSION, list_of, or_null


@dataclass(frozen=True)
class ProgressMeasures:
    """Losses are means in nats; `restricted` and `excluded` as in hindsight.py.

    Blocks of the task's basis by their numbers: frequencies, or irreps. Without a known basis there
    are none, and what needs one is None throughout. Where the
    split is not known the training losses are None, and all others are over all questions.
    """

    key_frequencies: list[int]  # of the final model
    epochs: list[int]
    training_losses: Series
    validation_losses: Series
    validation_accuracies: Series
    restricted_losses: Series  # over all questions
    excluded_losses: Series  # over the training pairs
    excluded_losses_by_frequency: list[Series]  # one list for each key frequency
    periodic_neurons: list[int | None]
    squares_total: Series  # sum of squared weights
    W_E_gini: Series
    W_L_gini: Series

    @property
    def has_split(self) -> bool:
        """Is it known which pairs were trained on?"""
        return any(loss is not None for loss in self.training_losses)


def write(directory: Path, measures: ProgressMeasures) -> Path:
    """Write the file into a run's folder."""
    record: dict[str, object] = {"schema_version": VERSION}
    for name, values in asdict(measures).items():
        nested = name == "excluded_losses_by_frequency"
        record[name] = [_clean(v) for v in values] if nested else _clean(values)
    write_json(directory / names.PROGRESS_MEASURES, record)
    return directory / names.PROGRESS_MEASURES


def read(directory: Path) -> ProgressMeasures:
    """Read and check the file; UserError in one line for one that is missing or damaged."""
    record, nested = (
        read_record(directory / names.PROGRESS_MEASURES),
        "excluded_losses_by_frequency",
    )
    epochs, real = record.epochs(), or_null(FINITE)
    columns: dict[str, Any] = {
        "epochs": epochs,
        "key_frequencies": record.series("key_frequencies", NATURAL),
        "periodic_neurons": record.series("periodic_neurons", or_null(NATURAL), like="epochs"),
        nested: record.series(nested, list_of(real, len(epochs)), like="key_frequencies"),
    }
    for position, losses in enumerate(columns[nested]):
        record.check_entries(f"'{nested}'[{position}]", losses, real)
    flat = (field.name for field in fields(ProgressMeasures) if field.name not in columns)
    columns |= {name: record.series(name, real, like="epochs") for name in flat}
    return ProgressMeasures(**columns)


def _clean(values: list[float | None]) -> list[float | None]:
    return [v if v is None else finite_or_none(v) for v in values]
