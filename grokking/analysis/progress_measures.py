"""A run's progress measures as a record and its file, progress_measures.json. Torch-free.

Derived after the run from the recorded weights (see hindsight.py), with the key frequencies of
the final model. All lists run over the recorded epochs; null marks a value that is not finite.
"""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from grokking.artifacts import SCHEMA_VERSION, Series, finite_or_none, read_json, write_json
from grokking.errors import UserError

NAME = "progress_measures.json"


@dataclass(frozen=True)
class ProgressMeasures:
    """Losses are means in nats; `restricted` and `excluded` as in hindsight.py."""

    key_frequencies: list[int]  # of the final model
    epochs: list[int]
    training_losses: Series
    validation_losses: Series
    validation_accuracies: Series
    restricted_losses: Series  # over all pairs
    excluded_losses: Series  # over the training pairs
    excluded_losses_by_frequency: list[Series]  # one list for each key frequency
    periodic_neurons: list[int]
    squares_total: Series  # sum of squared weights
    W_E_gini: Series
    W_L_gini: Series


def write(directory: Path, measures: ProgressMeasures) -> Path:
    """Write the file into a run's folder."""
    record: dict[str, object] = {"schema_version": SCHEMA_VERSION}
    for name, values in asdict(measures).items():
        nested = name == "excluded_losses_by_frequency"
        record[name] = [_clean(v) for v in values] if nested else _clean(values)
    write_json(directory / NAME, record)
    return directory / NAME


def read(directory: Path) -> ProgressMeasures:
    """Read and check the file; UserError in one line for one that is missing or damaged."""
    path = directory / NAME
    record = read_json(path)
    columns: dict[str, Any] = {f.name: record.get(f.name) for f in fields(ProgressMeasures)}
    count, keys = len(columns["epochs"] or []), len(columns["key_frequencies"] or [])
    for name, values in columns.items():
        expected = {"key_frequencies": keys, "excluded_losses_by_frequency": keys}.get(name, count)
        if not isinstance(values, list) or len(values) != expected:
            raise UserError(f"{path}: '{name}' is damaged, expected a list of {expected} entries")
    by_frequency = columns["excluded_losses_by_frequency"] or []
    if any(not isinstance(series, list) or len(series) != count for series in by_frequency):
        raise UserError(f"{path}: 'excluded_losses_by_frequency' has lists of another length")
    return ProgressMeasures(**columns)


def _clean(values: list[float | None]) -> list[float | None]:
    return [v if v is None else finite_or_none(v) for v in values]
