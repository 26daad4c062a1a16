"""When did the run memorise, when did it generalise, and was that grokking?

A pure function of the history. A single probe above the threshold is not enough
(accuracies spike): a candidate must hold for WINDOW epochs on average, and the
generalisation must come late, at least LATENESS times the memorisation epoch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

MEMORIZED = 0.99
HALFWAY = 0.5  # validation accuracy beyond which a run is labelled `grokking`
THRESHOLD = 0.9
WINDOW = 100
LATENESS = 3
RULE = (
    f"memorization_epoch: first probe with training accuracy >= {MEMORIZED}. generalization_epoch: first "
    f"probe e with validation accuracy >= {THRESHOLD} whose mean over the probes in [e, e+{WINDOW}], with at "
    f"least one later probe (the next one if none is that near), is >= {THRESHOLD}. grokked: both exist and "
    f"generalization_epoch >= {LATENESS} * memorization_epoch; grok_epoch is then generalization_epoch."
)

Accuracies = Sequence[float | None]


@dataclass(frozen=True)
class Phases:
    """Epochs are probed epochs; None: did not happen by the end of the history (censored)."""

    memorization_epoch: int | None
    generalization_epoch: int | None
    grok_epoch: int | None
    grok_interval: tuple[int | None, int] | None  # (last probe below the threshold, grok_epoch)
    grokked: bool
    delay: int | None  # epochs from memorisation to generalisation


def detect(epochs: Sequence[int], training: Accuracies, validation: Accuracies) -> Phases:
    """Apply the rule to accuracies in [0, 1] at increasing probed epochs; None is a non-finite probe."""
    memorized = first_memorized(epochs, training)
    position = first_confirmed(epochs, validation)
    generalized = None if position is None else epochs[position]
    if memorized is None or generalized is None:
        return Phases(memorized, generalized, None, None, False, None)
    delay = generalized - memorized
    if generalized < LATENESS * memorized:
        return Phases(memorized, generalized, None, None, False, delay)
    below = [e for e, v in zip(epochs, validation, strict=True) if e < generalized and _below(v)]
    interval = (below[-1] if below else None, generalized)
    return Phases(memorized, generalized, generalized, interval, True, delay)


def first_memorized(epochs: Sequence[int], training: Accuracies) -> int | None:
    """First probed epoch with training accuracy of at least 99 %."""
    return next((e for e, v in zip(epochs, training, strict=True) if _reaches(v, MEMORIZED)), None)


def first_confirmed(epochs: Sequence[int], validation: Accuracies) -> int | None:
    """Position of the first candidate that its window confirms."""
    candidates = (i for i, v in enumerate(validation) if _reaches(v, THRESHOLD))
    return next((i for i in candidates if verdict(epochs, validation, i)), None)


def verdict(epochs: Sequence[int], validation: Accuracies, position: int) -> bool:
    """Does the history, as far as it goes, confirm the candidate at `position`?"""
    end = position + 1
    while end < len(epochs) and epochs[end] <= epochs[position] + WINDOW:
        end += 1
    end = max(end, position + 2)  # no probe so near: the next one decides
    if end > len(epochs):
        return False
    window = validation[position:end]
    values = [v for v in window if v is not None]
    return len(values) == len(window) and math.fsum(values) >= THRESHOLD * len(values) - 1e-9


def is_decided(epochs: Sequence[int], position: int) -> bool:
    """Will no later probe change the verdict on the candidate at `position`?"""
    return len(epochs) > position + 1 and epochs[-1] >= epochs[position] + WINDOW


class Watch:
    """The same rule while the run is still going, for the labels of checkpoints.

    Weights are needed of an epoch whose importance shows only up to WINDOW epochs later:
    `waiting` lists the epochs whose weights must be kept until they are decided.
    """

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.validation: list[float | None] = []
        self.candidates: list[int] = []  # positions in the history, undecided
        self.confirmed: int | None = None  # generalization_epoch, once no probe can change it
        self.confirmed_at: int | None = None  # the epoch at which that was known

    def observe(self, epoch: int, validation: float | None) -> None:
        """Take in one probe."""
        self.epochs.append(epoch)
        self.validation.append(validation)
        if self.confirmed is not None:
            return
        if _reaches(validation, THRESHOLD):
            self.candidates.append(len(self.epochs) - 1)
        while self.candidates and is_decided(self.epochs, self.candidates[0]):
            position = self.candidates.pop(0)
            if verdict(self.epochs, self.validation, position):
                self.confirmed, self.confirmed_at = self.epochs[position], epoch
                self.candidates.clear()

    @property
    def waiting(self) -> set[int]:
        """Epochs that may yet turn out to be the generalization_epoch."""
        return {self.epochs[position] for position in self.candidates}


def _reaches(value: float | None, threshold: float) -> bool:
    return value is not None and value >= threshold


def _below(value: float | None) -> bool:
    return value is not None and value < THRESHOLD
