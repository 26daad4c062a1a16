"""What is known of a sweep once its folder has been read: runs, faults, histories, conditions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from grokking.detection import DIVERGED, LEARNING, MEMORISED
from grokking.files.history import History
from grokking.sweeps.axis import AXIS, Axis, named, value_words
from grokking.sweeps.survival import Observation, median_time
from grokking.sweeps.verdicts import Followed, Verdict, judge_hypotheses

Cell = tuple[Any, ...]  # a value of each axis


@dataclass(frozen=True)
class RunRecord:
    """One run in the summary. Epochs are probed epochs; None: not reached or not finite."""

    directory: str
    weight_decay: float
    seed: int
    learning_rate: float
    num_epochs: int
    last_epoch: int
    outcome: str  # one of detection.OUTCOMES
    collapse_epoch: int | None
    grokked: bool
    grok_epoch: int | None
    memorization_epoch: int | None
    generalization_epoch: int | None
    delay: int | None
    final_training_accuracy: float | None
    final_validation_accuracy: float | None
    seconds: float | None
    epochs_per_second: float | None
    values: dict[str, Any]  # of the sweep's axes, by field
    forked_at: int | None  # the epoch of a branch's fork
    squares_at_memorization: (
        float | None
    )  # V, the sum of all squared weights, where it was measured
    squares_at_generalization: float | None

    @property
    def cell(self) -> Cell:
        return tuple(self.values.values())

    @property
    def followed(self) -> Followed:
        """Grokked at grok_epoch, or censored where it was last seen."""
        if self.grok_epoch is None:
            return Followed(Observation(self.last_seen, False), self.last_seen)
        return Followed(Observation(self.grok_epoch, True), max(self.num_epochs, self.last_epoch))

    @property
    def last_seen(self) -> int:
        """The epoch to which it is known what the run had not done: of one that diverged, its planned end."""
        if self.outcome == DIVERGED:
            return max(self.num_epochs, self.last_epoch)
        return self.last_epoch

    @property
    def memorising(self) -> Observation:
        """Memorised, or censored where it was last seen."""
        return self._reaching(self.memorization_epoch)

    @property
    def generalising(self) -> Observation:
        """Generalised, late or not, or censored where it was last seen."""
        return self._reaching(self.generalization_epoch)

    def _reaching(self, epoch: int | None) -> Observation:
        return Observation(self.last_seen if epoch is None else epoch, epoch is not None)

    @property
    def outcome_in_words(self) -> str:
        """What became of the run, with the epoch: "memorised, not grokked by epoch 10,000"."""
        words = [self._reached]
        if self.collapse_epoch is not None:
            words.append(f"collapsed at epoch {self.collapse_epoch:,}")
        if self.outcome == DIVERGED:
            words.append(f"diverged at epoch {self.last_epoch:,}")
        return ", ".join(words)

    @property
    def _reached(self) -> str:
        if self.grok_epoch is not None:
            return f"grokked at epoch {self.grok_epoch:,}"
        if self.generalization_epoch is not None:
            return f"generalised at epoch {self.generalization_epoch:,}, no grokking"
        known = "not memorised" if self.memorization_epoch is None else "memorised"
        return f"{known}, not grokked by epoch {self.last_epoch:,}"

    @property
    def may_grok(self) -> bool:
        """Has the run ended before anything decided whether it groks?"""
        return self.outcome in (MEMORISED, LEARNING)

    @property
    def observed_delay(self) -> Observation | None:
        """Epochs from memorising to generalising, 0 if it generalised first; None if it did neither.

        Censored where it was last seen.
        """
        memorized, generalized = self.memorization_epoch, self.generalization_epoch
        if generalized is not None:
            return Observation(0 if memorized is None else max(0, generalized - memorized), True)
        return None if memorized is None else Observation(self.last_seen - memorized, False)

    @property
    def timescale(self) -> float:
        """1 / (learning rate * weight decay) in epochs, AdamW's time to forget; inf without decay.

        To 12 digits, in which equal products of different factors agree.
        """
        rate = self.learning_rate * self.weight_decay
        return float(f"{1 / rate:.12g}") if rate > 0 else math.inf

    @property
    def decay_time(self) -> float | None:
        """log(V at memorisation / V at generalisation) / (learning rate * weight decay) in epochs.

        What shrinking the weights takes (arXiv 2603.13331), from the run's own weights; None if they were
        not measured or have not shrunk.
        """
        before, after = self.squares_at_memorization, self.squares_at_generalization
        if before is None or after is None or not before > after > 0:
            return None
        return math.log(before / after) * self.timescale


def median_generalising(runs: Sequence[RunRecord]) -> int | None:
    """Kaplan-Meier median of the epoch at which runs generalised; None if it was not reached."""
    return median_time([run.generalising for run in runs])


@dataclass(frozen=True)
class Fault:
    """A folder that is not in the statistics, and why."""

    directory: str
    fault: str
    repeats: bool = False  # it could be read, but is the same run as another


class Condition(NamedTuple):
    """What runs ran on."""

    device_name: str
    kernel: str
    threads: str
    torch: str
    python: str
    git_commit: str


@dataclass(frozen=True)
class Sweep:
    """What a sweep's folder holds. `histories` is keyed by the records' directory."""

    directory: Path
    axes: tuple[Axis, ...]  # with the values that its runs have, in order
    runs: list[RunRecord]
    faults: list[Fault]
    warnings: list[str]
    histories: dict[str, History]
    conditions: list[Condition]  # one, if all runs ran alike
    sessions: list[dict[str, Any]]  # wall times, see plan.add_session

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(axis.field for axis in self.axes)

    @property
    def by_weight_decay(self) -> bool:
        """Does weight decay vary, from the start of every run, and nothing else?"""
        return self.fields == (AXIS.field,) and not self.has_branches

    @property
    def has_branches(self) -> bool:
        """Has a run of it begun under other settings than its own?"""
        return any(run.forked_at is not None for run in self.runs)

    @property
    def name(self) -> str:
        """Of its axes, in words: "train fraction x weight decay"."""
        return " x ".join(axis.name for axis in self.axes)

    @cached_property
    def cells(self) -> dict[Cell, list[RunRecord]]:
        """Runs by their values of the axes, in order, each cell by seed."""
        order = [{value: place for place, value in enumerate(axis.values)} for axis in self.axes]

        def place(run: RunRecord) -> list[int]:
            return [places[value] for places, value in zip(order, run.cell, strict=True)]

        cells: dict[Cell, list[RunRecord]] = {}
        for run in sorted(self.runs, key=lambda r: (place(r), r.seed, r.directory)):
            cells.setdefault(run.cell, []).append(run)
        return cells

    def panels(self) -> dict[Cell, dict[Cell, list[RunRecord]]]:
        """The cells by their values of the axes after the first: what one figure can hold."""
        panels: dict[Cell, dict[Cell, list[RunRecord]]] = {}
        for cell, runs in self.cells.items():
            panels.setdefault(cell[1:], {})[cell] = runs
        return panels

    def named(self, cell: Cell) -> str:
        """A cell in words: "train fraction 0.3, weight decay 0.5"."""
        return named(self.fields, cell)

    def panel_named(self, rest: Cell) -> str:
        """A panel in words: "weight decay 0.5"; empty where there is only one axis."""
        return named(self.fields[1:], rest)

    def label(self, cell: Cell) -> str:
        """A cell within its panel: "0.3"."""
        return value_words(cell[0])

    def is_whole(self, left: Sequence[str] = ()) -> bool:
        """Could every run be read, but for those that are `left` to do, and has none diverged?"""
        unread = any(not (fault.repeats or fault.directory in left) for fault in self.faults)
        return not unread and all(run.outcome != DIVERGED for run in self.runs)

    def verdicts(self) -> list[Verdict]:
        """Of a sweep of weight decay; of another axis nothing is claimed."""
        if not self.by_weight_decay:
            return []
        return judge_hypotheses(
            {wd: [run.followed for run in runs] for (wd,), runs in self.cells.items()}
        )
