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
COLLAPSED = 0.5  # mean validation accuracy below which a network that had generalised has lost it
GROKKED, GENERALISED, MEMORISED, LEARNING, DIVERGED, NOT_JUDGED = OUTCOMES = (
    "grokked",
    "generalised",
    "memorised",
    "learning",
    "diverged",
    "not judged",  # imported states that do not tell
)
DETECTION_RULE = (
    f"memorization_epoch: first probe with training accuracy >= {MEMORIZED}. generalization_epoch: first "
    f"probe e with validation accuracy >= {THRESHOLD} whose mean over the probes in [e, e+{WINDOW}], with at "
    f"least one later probe (the next one if none is that near), is >= {THRESHOLD}. grokked: both exist and "
    f"generalization_epoch >= {LATENESS} * memorization_epoch; grok_epoch is then generalization_epoch. "
    f"collapse_epoch: first probe after generalization_epoch with validation accuracy < {COLLAPSED} whose "
    f"mean over such a window is < {COLLAPSED}."
)

Accuracies = Sequence[float | None]


@dataclass(frozen=True)
class Detection:
    """Epochs are probed epochs; None: did not happen by the end of the history (censored)."""

    memorization_epoch: int | None
    generalization_epoch: int | None
    grok_epoch: int | None
    grok_interval: tuple[int | None, int] | None  # (last probe below the threshold, grok_epoch)
    grokked: bool
    outcome: str  # one of OUTCOMES
    collapse_epoch: int | None
    delay: int | None  # epochs from memorisation to generalisation; None if it generalised first


def detect(
    epochs: Sequence[int],
    training: Accuracies,
    validation: Accuracies,
    diverged: bool = False,
) -> Detection:
    """Apply the rule to accuracies in [0, 1] at increasing probed epochs; None is a non-finite probe."""
    memorized = first_memorized(epochs, training)
    position = first_confirmed(epochs, validation)
    generalized = None if position is None else epochs[position]
    grok_epoch = generalized if is_late(memorized, generalized) else None
    return Detection(
        memorized,
        generalized,
        grok_epoch,
        None if grok_epoch is None else (last_below(epochs, validation, grok_epoch), grok_epoch),
        grok_epoch is not None,
        DIVERGED if diverged else outcome(memorized, generalized),
        None if position is None else first_collapse(epochs, validation, position),
        delay(memorized, generalized),
    )


def detect_between(
    epochs: Sequence[int], training: Accuracies, validation: Accuracies
) -> Detection:
    """The rule on states that may lie far apart; NOT_JUDGED where it depends on what was between them.

    What is first seen at a state has happened at some epoch after the state before it. Nor is anything
    judged where no training accuracy is known, or where the last state alone generalises.
    """
    found = detect(epochs, training, validation)
    memorized, generalized = found.memorization_epoch, found.generalization_epoch
    if generalized is None:
        tells = not _reaches(validation[-1], THRESHOLD)
    elif memorized is None:
        tells = True
    else:
        after = max((e for e in epochs if e < memorized), default=-1)
        below = last_below(epochs, validation, generalized)
        latest_start, earliest = (-1 if below is None else below) + 1, after + 1
        tells = is_late(memorized, latest_start) or not is_late(earliest, generalized)
    if tells and any(value is not None for value in training):
        return found
    return Detection(None, None, None, None, False, NOT_JUDGED, None, None)


def is_late(memorized: int | None, generalized: int | None) -> bool:
    """Did the generalisation come late enough after memorisation to be grokking?"""
    if memorized is None or generalized is None:
        return False
    return generalized >= LATENESS * memorized


def outcome(memorized: int | None, generalized: int | None) -> str:
    """What became of a run that did not diverge."""
    if generalized is not None:
        return GROKKED if is_late(memorized, generalized) else GENERALISED
    return LEARNING if memorized is None else MEMORISED


def delay(memorized: int | None, generalized: int | None) -> int | None:
    """Epochs from memorisation to generalisation; None where there is no such order."""
    if memorized is None or generalized is None or generalized < memorized:
        return None
    return generalized - memorized


def last_below(epochs: Sequence[int], validation: Accuracies, epoch: int) -> int | None:
    """The last probe before `epoch` at which validation accuracy was below the threshold."""
    below = [
        e for e, v in zip(epochs, validation, strict=True) if e < epoch and _below(v, THRESHOLD)
    ]
    return below[-1] if below else None


def first_collapse(epochs: Sequence[int], validation: Accuracies, position: int) -> int | None:
    """First probe after the generalisation at `position` from which it is lost."""
    for later in range(position + 1, len(epochs)):
        if _below(validation[later], COLLAPSED):
            accuracies = window(epochs, validation, later)
            if accuracies and math.fsum(accuracies) < COLLAPSED * len(accuracies):
                return epochs[later]
    return None


def first_memorized(epochs: Sequence[int], training: Accuracies) -> int | None:
    """First probed epoch with training accuracy of at least 99 %."""
    return next((e for e, v in zip(epochs, training, strict=True) if _reaches(v, MEMORIZED)), None)


def first_confirmed(epochs: Sequence[int], validation: Accuracies) -> int | None:
    """Position of the first candidate that its window confirms."""
    candidates = (i for i, v in enumerate(validation) if _reaches(v, THRESHOLD))
    return next((i for i in candidates if verdict(epochs, validation, i)), None)


def verdict(epochs: Sequence[int], validation: Accuracies, position: int) -> bool:
    """Does the history, as far as it goes, confirm the candidate at `position`?"""
    accuracies = window(epochs, validation, position)
    return bool(accuracies) and math.fsum(accuracies) >= THRESHOLD * len(accuracies) - 1e-9


def window(epochs: Sequence[int], validation: Accuracies, position: int) -> list[float]:
    """The accuracies of the probe at `position` and of those up to WINDOW epochs later.

    The next probe counts if none is so near; empty without a later one, or with a non-finite one.
    """
    end = position + 1
    while end < len(epochs) and epochs[end] <= epochs[position] + WINDOW:
        end += 1
    end = max(end, position + 2)  # no probe so near: the next one decides
    finite = [v for v in validation[position:end] if v is not None]
    return finite if end <= len(epochs) and len(finite) == end - position else []


def is_decided(epochs: Sequence[int], position: int) -> bool:
    """Will no later probe change the verdict on the candidate at `position`?"""
    return len(epochs) > position + 1 and epochs[-1] >= epochs[position] + WINDOW


class Watch:
    """The same rule while the run is still going, for the labels of checkpoints and for its end.

    Weights are needed of an epoch whose importance shows only up to WINDOW epochs later:
    `waiting` lists the epochs whose weights must be kept until they are decided.
    """

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.validation: list[float | None] = []
        self.candidates: list[int] = []  # positions in the history, undecided
        self.memorized: int | None = None  # memorization_epoch
        self.confirmed: int | None = None  # generalization_epoch, once no probe can change it
        self.confirmed_at: int | None = None  # the epoch at which that was known

    def observe(self, epoch: int, training: float | None, validation: float | None) -> None:
        """Take in the accuracies of one probe."""
        self.epochs.append(epoch)
        self.validation.append(validation)
        if self.memorized is None and _reaches(training, MEMORIZED):
            self.memorized = epoch
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

    @property
    def grokked(self) -> bool:
        """Is a generalisation confirmed that came late enough to be grokking?"""
        return is_late(self.memorized, self.confirmed)

    def is_over(self, epoch: int, num_epochs: int, stop_after_grok: int | None) -> bool:
        """Does a run of so many epochs, or with that stop rule, end at `epoch` or before it?"""
        if epoch >= num_epochs:
            return True
        if stop_after_grok is None or self.confirmed_at is None or not self.grokked:
            return False
        return epoch >= self.confirmed_at + stop_after_grok


def watched(epochs: Sequence[int], training: Accuracies, validation: Accuracies) -> Watch:
    """The watch of a run with this history."""
    watch = Watch()
    for probe in zip(epochs, training, validation, strict=True):
        watch.observe(*probe)
    return watch


def _reaches(value: float | None, threshold: float) -> bool:
    return value is not None and value >= threshold


def _below(value: float | None, threshold: float) -> bool:
    return value is not None and value < threshold
