"""What a branch is, in words, from its config.json. Torch-free."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grokking.files.branches import CLAMP, Arm, Branch, read_branch


def branch_told(branch: Branch) -> str:
    """A sentence: of which run and epoch, and what changes there."""
    changes = changes_told(branch)
    if not changes:
        changes = "nothing changes" + (": the control arm" if branch.exact else "")
    began = "" if branch.exact else " It began with recorded weights and fresh moments: not exact."
    return f"This is a branch of {branch.name} at epoch {branch.at:,}: {changes}.{began}"


def branches_told(folders: Sequence[Path]) -> list[str]:
    """Sentences on those of several runs that are branches: of what, from which epoch, and how exactly."""
    branches = [branch for folder in folders if (branch := read_branch(folder)) is not None]
    if not branches:
        return []
    forks = dict.fromkeys(f"{branch.name} at epoch {branch.at:,}" for branch in branches)
    which = "These runs" if len(branches) == len(folders) else f"{len(branches)} of these runs"
    told = [
        f"{which} are branches of {', '.join(forks)}: up to there each is the run that it forks from, with "
        "that run's settings."
    ]
    inexact = sum(not branch.exact for branch in branches)
    if inexact:
        told.append(f"{inexact} began with recorded weights and fresh moments: not exact.")
    return told


def changes_told(branch: Branch) -> str:
    """What changes at the fork: "weight decay 0 in place of 1"; empty for the control arm."""
    return ", ".join(
        _clamp_told(new)
        if name == CLAMP
        else f"{_words(name)} {_shown(new)} in place of {_shown(branch.before[name])}"
        for name, new in branch.changes.items()
    )


def _words(name: str) -> str:
    return "last epoch" if name == "num_epochs" else name.replace("_", " ")


def _clamp_told(factor: float) -> str:
    held = "as it was" if factor == 1 else f"at {factor:g} times what it was"
    return f"the sum of all squared weights held {held}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def arm_told(arm: Arm) -> str:
    """What the curves of the other arm are, or why there are none."""
    if arm.history is None:
        return f"The original run is not shown: {arm.missing}."
    return f"Grey: the original run, from epoch {arm.at:,} on."
