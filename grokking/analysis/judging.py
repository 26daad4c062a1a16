"""When a row of the report card passes, fails, is not judged, or is not judged yet.

Judged is a network that computes, by what carries over to it, beside a control where there is one. A
row that would fail is NOT YET while it comes nearer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grokking.analysis import published
from grokking.task import Task

if TYPE_CHECKING:  # at run time that would import torch
    from grokking.analysis.circuit import Ablation, DirectionFit, Residuals
    from grokking.analysis.controls import Control, Controls
    from grokking.analysis.phases import Phases

COMPUTES = 0.99  # validation accuracy from which a network is judged
SHRUNK = 0.9  # of the distance at three quarters of the run: below it a row is still on its way
PASS, FAIL, NOT_YET, NOT_JUDGED = "PASS", "FAIL", "NOT YET", "not judged"
MODEL = ("task", "modulus", "d_model", "num_heads", "d_mlp")


@dataclass(frozen=True)
class Measured:
    """What the rows need of one state."""

    epoch: int
    validation_accuracy: float
    key_frequencies: list[int]
    periodic_neurons: int
    residuals: Residuals
    direction_fits: list[DirectionFit]
    cosines_explain: float
    restricted_loss: float
    excluded_loss: float
    excluded_loss_all_pairs: float
    ablation: Ablation


@dataclass(frozen=True)
class Findings:
    """Everything that the card is filled from; all of one run."""

    task: Task
    d_mlp: int
    weight_decay: float | None  # None: not known
    departures: Sequence[str]  # settings in which the run is not the paper's experiment
    epoch: int
    validation_accuracy: float
    now: Measured | None  # None: no basis is known
    earlier: (
        Measured | None
    )  # at the recorded epoch nearest three quarters; None: none was recorded
    controls: Controls | None
    phases: Phases | None  # None: no trajectory was recorded
    outcome: str  # of detection.OUTCOMES, by the history so far
    grok_epoch: int | None
    collapse_epoch: int | None
    imported: bool = False  # weights trained elsewhere, with settings that are not known
    has_split: bool = True  # is it known which pairs were trained on? If not, validation is of all

    @property
    def key_labels(self) -> list[int | str]:
        """The key blocks as they are called; empty where no basis is known."""
        if self.now is None or self.task.group is None:
            return []
        return [self.task.group.basis.label(k) for k in self.now.key_frequencies]

    @property
    def accuracy_of(self) -> str:
        """What the accuracy that decides whether a network computes is called."""
        return "validation" if self.has_split else "accuracy over all pairs"

    @property
    def next_epoch(self) -> int | None:
        """The epoch to run on to where more epochs may decide a row; None for imported weights."""
        if self.imported:
            return None
        converged = published.PAPER_EPOCHS
        return converged if not self.departures and self.epoch < converged else 2 * self.epoch


@dataclass(frozen=True)
class RowVerdict:
    """`reason` says why a row neither passes nor fails, or what failed beside its tolerance."""

    word: str
    reason: str = ""


NOT_KNOWN = RowVerdict(NOT_JUDGED, "what the imported weights were trained with is not known")


@dataclass(frozen=True)
class Row:
    """One line of the card."""

    what: str
    paper: str
    run: str
    value: Any  # `run` as numbers, for programs; None where there are none
    accepted: str  # the tolerance and where it comes from
    verdict: str
    reason: str
    control: Control | None
    definition: str

    @property
    def passed(self) -> bool | None:
        """None where the row is not judged, or not yet."""
        return {PASS: True, FAIL: False}.get(self.verdict)


@dataclass(frozen=True)
class Claim:
    """What a row claims of a state.

    `distance` is how far a state lies outside the accepted range: 0 inside, NaN where it cannot be
    told. With a `control`, the state's own figure must lie `below` or above all of its draws.
    """

    what: str
    paper: str
    accepted: str
    definition: str
    shown: Callable[[Measured], str]
    value: Callable[[Measured], Any]
    distance: Callable[[Measured], float]
    control: Control | None = None
    figure: Callable[[Measured], float] | None = None
    below: bool = True
    carries_over: bool = False  # to models of another size: no figure of the paper's is in it


def not_computing(findings: Findings) -> RowVerdict | None:
    """Why a network is not judged at all; None for one that computes."""
    accuracy = findings.validation_accuracy
    if accuracy >= COMPUTES:
        return None
    reason = f"{findings.accuracy_of} {accuracy:.0%}; judged from {COMPUTES:.0%}"
    if findings.collapse_epoch is not None:
        return RowVerdict(NOT_JUDGED, f"collapsed at epoch {findings.collapse_epoch:,}: {reason}")
    return RowVerdict(NOT_JUDGED if findings.grok_epoch is None else NOT_YET, reason)


def judged(claim: Claim, findings: Findings, now: Measured) -> RowVerdict:
    """The rules of a verdict, in the order in which they apply."""
    silent = not_computing(findings)
    if silent is not None:
        return silent
    other = [name for name in MODEL if name in findings.departures]
    if other and not claim.carries_over:
        return RowVerdict(
            NOT_JUDGED, f"the paper's figure is of a model with another {', '.join(other)}"
        )
    if claim.control is not None and not claim.control.values:
        return RowVerdict(NOT_JUDGED, f"too few are left to draw from: {claim.control.of}")
    distance = claim.distance(now)
    if distance == 0:
        return _against_control(claim, now)
    if findings.earlier is None:
        return RowVerdict(
            NOT_JUDGED, "no weights were recorded along the way: it may still be changing"
        )
    go_on, since = findings.next_epoch, findings.earlier.epoch
    run_on = "" if go_on is None else f"; run on to epoch {go_on:,}"
    if findings.earlier.validation_accuracy < COMPUTES:
        below = f"{findings.accuracy_of} was below {COMPUTES:.0%} still at epoch {since:,}"
        return RowVerdict(NOT_YET, f"{below}{run_on}")
    if distance <= SHRUNK * claim.distance(findings.earlier) and math.isfinite(distance):
        return RowVerdict(NOT_YET, f"still on its way since epoch {since:,}{run_on}")
    return RowVerdict(FAIL)


def _against_control(claim: Claim, now: Measured) -> RowVerdict:
    """PASS outside the range of the control's draws, on the claimed side."""
    if claim.control is None or claim.figure is None:
        return RowVerdict(PASS)
    own, values = claim.figure(now), claim.control.values
    outside = own < min(values) if claim.below else own > max(values)
    return RowVerdict(PASS) if outside else RowVerdict(FAIL, "its control does as well")


def of_other_settings(findings: Findings, weight_decay: float) -> RowVerdict | None:
    """Epochs of one experiment say nothing of another's."""
    if findings.imported:
        return NOT_KNOWN
    others = [name for name in findings.departures if name != "weight_decay"]
    if others:
        return RowVerdict(NOT_JUDGED, f"the published epochs are of another {', '.join(others)}")
    if findings.weight_decay != weight_decay:
        return RowVerdict(NOT_JUDGED, f"the published epochs are of weight decay {weight_decay:g}")
    return None
