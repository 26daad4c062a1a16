"""A run's folder as an object. Torch-free, until a network of it is asked for."""

from contextlib import nullcontext
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from grokking import config
from grokking.api.errors import python_errors
from grokking.config import Config
from grokking.detection import detect
from grokking.files import history, names, run_files, trajectory

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from grokking.analysis.investigation import Investigation
    from grokking.api.state import State


class History(NamedTuple):
    """The probes of a run, each an array [number of probes]; NaN where a value was not finite.

    Of imported weights whose split is not known, `training` is NaN and `validation` is of all pairs.
    """

    epochs: NDArray[np.int64]
    training_loss: NDArray[np.float64]  # nats
    validation_loss: NDArray[np.float64]
    training_accuracy: NDArray[np.float64]  # share of the pairs
    validation_accuracy: NDArray[np.float64]


class Run:
    """A folder that `python -m grokking` or `grokking.train` has written, finished or not.

    `imported` tells where weights came from that were not trained here: `file`, `form`,
    `training_pairs` (how many; None: the split is not known), `changes`. Their settings, but for the sizes,
    are None in `config`.

    What is read is read once: load the folder again to see what a run in progress has added.
    """

    def __init__(self, folder: str | Path, plain_errors: bool = False) -> None:
        """ValueError names the file of the folder that is missing or damaged.

        `plain_errors`: the package's own errors, which the commands print.
        """
        self.folder = Path(folder)
        self._errors = nullcontext if plain_errors else python_errors
        with self._errors():
            values = run_files.read_config(self.folder)
            self.imported = run_files.read_imported(self.folder)
            finished = (self.folder / names.RESULT).exists()
            self._result = run_files.read_grokking(self.folder) if finished else None
            begun = finished or (self.folder / names.LOSSES).exists()
            nothing = history.History([], [], [], [], [])  # of a run that has just begun
            self.probes = history.read_history(self.folder) if begun else nothing
        fields = {name: values[name] for name in config.FIELDS}
        neurons = fields["neurons"]
        fields["neurons"] = tuple(neurons) if isinstance(neurons, list) else neurons
        self.config = Config(**fields)

    def __repr__(self) -> str:
        epoch = self.probes.epochs[-1] if self.probes.epochs else 0
        state = self.outcome if self.finished else f"unfinished, {self.outcome}"
        if self.imported is not None:
            state = f"imported from {self.imported['file']}, {state}"
        return f"<grokking.Run {str(self.folder)!r}: {state} at epoch {epoch:,}>"

    @property
    def finished(self) -> bool:
        """Has the run ended, by its last epoch, its stop rule or a loss that was not finite?"""
        return self._result is not None

    @cached_property
    def history(self) -> History:
        """Losses and accuracies at every probe."""
        probes = self.probes
        series = (
            probes.training_losses,
            probes.validation_losses,
            probes.training_accuracies,
            probes.validation_accuracies,
        )
        values = (np.array([np.nan if v is None else v for v in one], np.float64) for one in series)
        return History(np.array(probes.epochs, np.int64), *values)

    @cached_property
    def phases(self) -> dict[str, Any]:
        """The fields of grokking.json that the rule of detection gives; of an unfinished run, so far."""
        if self._result is not None:
            return self._result
        probes = self.probes
        return asdict(
            detect(probes.epochs, probes.training_accuracies, probes.validation_accuracies)
        )

    @property
    def outcome(self) -> str:
        """grokked, generalised, memorised, learning or diverged; of an unfinished run, so far."""
        return str(self.phases["outcome"])

    @property
    def grok_epoch(self) -> int | None:
        """The epoch of grokking, by the rule of grokking/detection.py; None if it has not grokked."""
        epoch: int | None = self.phases["grok_epoch"]
        return epoch

    @property
    def memorization_epoch(self) -> int | None:
        """The first probe at which 99 % of the training pairs are right."""
        epoch: int | None = self.phases["memorization_epoch"]
        return epoch

    @property
    def departures(self) -> dict[str, Any]:
        """The settings, by field, in which this is not the experiment of Nanda et al. (2023)."""
        return config.departures(vars(self.config))

    @property
    def epochs(self) -> list[int]:
        """Epochs whose weights are recorded, ascending."""
        return sorted(self._recorded)

    @cached_property
    def _recorded(self) -> dict[int, Path]:
        recorded = dict(trajectory.recorded(self.folder))
        if self._result is not None and self._result["final_epoch"] is not None:
            final = names.labeled_path(self.folder, "final")
            if final.exists():
                recorded.setdefault(self._result["final_epoch"], final)
        return recorded

    def at(self, epoch: int, exact: bool = False) -> "State":
        """The network at the recorded epoch nearest to `epoch`, the earlier one of two as near.

        KeyError if nothing is recorded or, with `exact`, not that epoch.
        """
        if not self.epochs:
            raise KeyError(f"{self.folder} has no recorded weights")
        nearest = min(self.epochs, key=lambda e: (abs(e - epoch), e))
        if exact and nearest != epoch:
            raise KeyError(
                f"epoch {epoch} is not recorded in {self.folder}; the nearest is {nearest}"
            )
        from grokking.api.state import State
        from grokking.files.checkpoint import load_checkpoint

        with self._errors():
            return State(load_checkpoint(self._recorded[nearest]), run_files.read_task(self.folder))

    @property
    def final(self) -> "State":
        """The network at the last recorded epoch."""
        if not self.epochs:
            raise KeyError(f"{self.folder} has no recorded weights")
        return self.at(self.epochs[-1])

    @cached_property
    def investigated(self) -> "Investigation":
        """What the report finds in the recorded weights; some seconds of work."""
        from grokking.analysis.investigation import investigate

        return investigate(self.folder)

    def branch(
        self,
        at: int,
        folder: str | Path,
        *,
        exact: bool = True,
        resume: bool = False,
        progress: bool = True,
        **changes: Any,
    ) -> "Run":
        """Go on from the full state of epoch `at` into a folder, with changed settings; returns that run.

        `changes`: weight_decay, learning_rate, beta1, beta2, optimizer (with fresh moments), num_epochs, and
        clamp_norm=m, which holds the sum of all squared weights at m times what it was. Without any it is
        the control arm. The state is found by training again, on what this run was computed with, and
        whatever is recorded on the way must come out bit for bit; `exact=False` begins with the weights
        recorded at that epoch and fresh moments. `resume` goes on with that branch, where it was interrupted.

        TypeError for a name that no branch can change, ValueError for a value that cannot be, and for a
        run that does not come out as it was recorded.
        """
        from grokking.api.training import branch_here, check_changes

        check_changes(changes)
        with self._errors():
            branch_here(self.folder, at, Path(folder), changes, exact, resume, progress)
        return Run(folder)

    def figure(self, name: str) -> "go.Figure":
        """A plotly figure of the run: curves, progress, spectrum or circles.

        ValueError for a name that is none of them.
        """
        from grokking.api.figures import run_figure

        with self._errors():
            return run_figure(self, name)


def load(folder: str | Path = "artifacts") -> Run:
    """The run in a folder; ValueError names the file that is missing or damaged."""
    return Run(folder)
