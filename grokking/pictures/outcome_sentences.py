"""What became of a run, in words: no page says of a run what its history does not show.

`phases` is the content of grokking.json, or what the rule finds in the history of a run that goes on.
"""

from collections.abc import Mapping
from typing import Any

from grokking.detection import COLLAPSED, DIVERGED, LATENESS, MEMORIZED, NOT_JUDGED, THRESHOLD
from grokking.files.history import History

Result = Mapping[str, Any]


def outcome_title(phases: Result) -> str:
    """The outcome in a few words: "grokked at epoch 7,728"."""
    parts = [_reached(phases)]
    if phases["collapse_epoch"] is not None:
        parts.append(f"collapsed at epoch {phases['collapse_epoch']:,}")
    if phases["outcome"] == DIVERGED:
        parts.append("diverged")
    return ", ".join(parts)


def _reached(phases: Result) -> str:
    if phases["outcome"] == NOT_JUDGED:
        return "grokking not judged"
    memorised, generalised = phases["memorization_epoch"], phases["generalization_epoch"]
    if phases["grok_epoch"] is not None:
        return f"grokked at epoch {phases['grok_epoch']:,}"
    if generalised is not None:
        return f"generalised at epoch {generalised:,}, no grokking"
    if memorised is not None:
        return f"memorised at epoch {memorised:,}, not generalised"
    return "not memorised"


def outcome_sentence(phases: Result, history: History) -> str:
    """The outcome with its epochs, and how the run stands at its last probe."""
    sentences = [_course(phases) if phases["outcome"] != NOT_JUDGED else _not_judged(history)]
    if phases["collapse_epoch"] is not None:
        sentences.append(
            f"At epoch {phases['collapse_epoch']:,} it collapsed: validation accuracy fell below "
            f"{COLLAPSED:.0%}."
        )
    if history.epochs:
        sentences.append(_standing(history))
    if phases["outcome"] == DIVERGED:
        sentences.append("There it diverged: its loss was not finite, and training ended.")
    return " ".join(sentences)


def _not_judged(history: History) -> str:
    what = "Whether and when it memorised and grokked is not judged"
    if not history.has_split:
        return f"{what}: the pairs that it was trained on are not known."
    return f"{what}: the imported states lie too far apart for it, or no later one confirms it."


def _course(phases: Result) -> str:
    memorised, generalised = phases["memorization_epoch"], phases["generalization_epoch"]
    if memorised is None and generalised is None:
        return "This run has not learned its training pairs by heart."
    by_heart = f"This run knew its training pairs by heart at epoch {memorised or 0:,}"
    if generalised is None:
        return f"{by_heart} and has not generalised."
    if phases["grok_epoch"] is not None:
        return (
            f"{by_heart} and grokked at epoch {generalised:,}, {generalised - memorised:,} epochs "
            "later."
        )
    reached = (
        f"This run reached {THRESHOLD:.0%} validation accuracy for good at epoch {generalised:,}"
    )
    if memorised is None:
        when = "without having memorised its training pairs"
    elif generalised < memorised:
        when = f"before it knew its training pairs by heart (epoch {memorised:,})"
    else:
        when = f"{generalised - memorised:,} epochs after memorising"
    return f"{reached}, {when}: ordinary learning, no grokking."


def _standing(history: History) -> str:
    training, validation = history.training_accuracies[-1], history.validation_accuracies[-1]
    if not history.has_split:
        return f"At epoch {history.epochs[-1]:,} accuracy is {_percent(validation)} over all pairs."
    return (
        f"At epoch {history.epochs[-1]:,} accuracy is {_percent(training)} on the training pairs and "
        f"{_percent(validation)} on the others."
    )


def _percent(accuracy: float | None) -> str:
    return "not finite" if accuracy is None else f"{accuracy:.2%}"


def gap(phases: Result) -> str:
    """What to look for between the curves of training and validation accuracy."""
    if phases["outcome"] == NOT_JUDGED:
        return "Whether a gap opened and closed is not judged."
    if phases["grok_epoch"] is not None:
        return (
            f"Look for the gap: it opens where training accuracy reaches {MEMORIZED:.0%} (memorisation) "
            f"and closes where validation accuracy passes {THRESHOLD:.0%} for good (grokking)."
        )
    if phases["generalization_epoch"] is not None:
        return f"No long gap opened: grokking takes {LATENESS} times the epochs of memorising."
    if phases["memorization_epoch"] is not None:
        return (
            "Look for the gap, which is still open: validation accuracy has not passed "
            f"{THRESHOLD:.0%} for good."
        )
    return f"No gap has opened: that takes a training accuracy of {MEMORIZED:.0%} (memorisation)."
