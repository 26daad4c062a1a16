"""What is known of a sweep once its folder has been read: runs, faults, histories, conditions."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from grokking.detection import DIVERGED, LEARNING, MEMORISED
from grokking.files.history import History
from grokking.sweeps.axis import Axis
from grokking.sweeps.survival import Observation
from grokking.sweeps.verdicts import Followed, Verdict, judge_hypotheses


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

    @property
    def followed(self) -> Followed:
        """Grokked at grok_epoch, or censored at the last epoch."""
        if self.grok_epoch is None:
            return Followed(Observation(self.last_epoch, False), self.last_epoch)
        return Followed(Observation(self.grok_epoch, True), max(self.num_epochs, self.last_epoch))

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

        Censored at the last epoch.
        """
        memorized, generalized = self.memorization_epoch, self.generalization_epoch
        if generalized is not None:
            return Observation(0 if memorized is None else max(0, generalized - memorized), True)
        return None if memorized is None else Observation(self.last_epoch - memorized, False)

    @property
    def timescale(self) -> float:
        """1 / (learning rate * weight decay) in epochs, AdamW's time to forget; inf without decay.

        To 12 digits, in which equal products of different factors agree.
        """
        rate = self.learning_rate * self.weight_decay
        return float(f"{1 / rate:.12g}") if rate > 0 else math.inf


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
    axis: Axis
    runs: list[RunRecord]
    faults: list[Fault]
    warnings: list[str]
    histories: dict[str, History]
    conditions: list[Condition]  # one, if all runs ran alike
    sessions: list[dict[str, Any]]  # wall times, see plan.add_session

    def groups(self) -> dict[float, list[RunRecord]]:
        """Runs by their value of the axis, ascending, each group by seed."""
        groups: dict[float, list[RunRecord]] = {}
        for run in sorted(self.runs, key=lambda r: (self.value(r), r.seed, r.directory)):
            groups.setdefault(self.value(run), []).append(run)
        return groups

    def value(self, run: RunRecord) -> float:
        """A run's value of the axis."""
        return float(getattr(run, self.axis.field))

    @property
    def is_whole(self) -> bool:
        """Could every run be read, and has none diverged?"""
        unread = any(not fault.repeats for fault in self.faults)
        return not unread and all(run.outcome != DIVERGED for run in self.runs)

    def verdicts(self) -> list[Verdict]:
        return judge_hypotheses({wd: [r.followed for r in g] for wd, g in self.groups().items()})
