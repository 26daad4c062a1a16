"""The three phases of a run, found from its progress measures by a stated rule. Torch-free.

Source of the phases: Nanda et al. (2023), arXiv 2301.05217, section 5.2, which places them by eye.
"""

from dataclasses import dataclass

import numpy as np

from grokking.analysis.progress_measures import ProgressMeasures
from grokking.files.history import Series
from grokking.fourier import Array

HALF = 0.5  # of the largest validation loss: below it the loss is on its way down
CLOSED = 2.0  # validation loss over training loss: below it the gap is closed


def phases_rule(blocks: str) -> str:
    """The rule in words; `blocks` is what the basis has, "frequencies"."""
    return (
        "memorisation ends where the excluded loss is lowest, having fallen: from there on the model comes "
        f"to rely on the key {blocks}; circuit formation ends at the last epoch whose validation loss is at "
        f"least {HALF:g} of its maximum; cleanup at the first later epoch whose validation loss is "
        f"below {CLOSED:g} times the training loss. All at recorded epochs"
    )


@dataclass(frozen=True)
class Phases:
    """The recorded epoch at which each phase ends (see phases_rule); None: not reached."""

    memorization: int | None
    circuit_formation: int | None
    cleanup: int | None


def find_phases(measures: ProgressMeasures) -> Phases:
    """Apply the rule. Each phase ends after the one before, or not at all."""
    training, validation = reals(measures.training_losses), reals(measures.validation_losses)
    excluded = reals(measures.excluded_losses)
    known = measures.has_split and np.isfinite(excluded).any() and np.isfinite(validation).any()
    if not known:
        return Phases(None, None, None)
    lowest, last = int(np.nanargmin(excluded)), len(measures.epochs) - 1
    if lowest in (0, last):  # it has not fallen, or still falls
        return Phases(None, None, None)
    half = int(np.flatnonzero(validation >= HALF * np.nanmax(validation))[-1])
    if not lowest < half < last:
        return Phases(measures.epochs[lowest], None, None)
    closed = np.flatnonzero((validation < CLOSED * training)[half + 1 :])
    cleaned = measures.epochs[half + 1 + int(closed[0])] if len(closed) else None
    return Phases(measures.epochs[lowest], measures.epochs[half], cleaned)


def reals(series: Series) -> Array:
    """A series as an array, NaN where a value was not finite."""
    return np.array([np.nan if v is None else v for v in series], dtype=np.float64)
