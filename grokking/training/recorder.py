"""What the training loop leaves on disk: checkpoints, the trajectory of the weights, the histories."""

import os
import time
from pathlib import Path
from typing import Any

from grokking.analysis.measures import measure
from grokking.files import measures, names, trajectory
from grokking.files.checkpoint import Damaged, load_checkpoint, save_checkpoint
from grokking.files.folder import forget_results
from grokking.files.history import write_history
from grokking.files.names import labeled_path
from grokking.kernels.backend import Evaluation
from grokking.system.errors import RunError, UserError
from grokking.training.state import TrainingState, Weights, labeled_record, to_record, weights_of

HISTORY_INTERVAL = 10.0  # seconds between writes of the history files, which grow with the run


class AllDamaged(RunError):
    """There are checkpoints to resume from, and none is intact."""


class Recorder:
    """Writes a run's files; one per run, called by the training loop."""

    def __init__(self, state: TrainingState, directory: Path) -> None:
        self.state, self.directory = state, directory
        self.resumed_at = state.epoch if state.history.epochs else None
        self.continues = (directory / names.RESULT).exists()  # a run that had ended
        self.history_written = time.monotonic()
        self.rows: list[measures.Rows] = []  # measured since the last append

    def measure(self, training: Evaluation, validation: Evaluation) -> None:
        """One row of measures, of this epoch, from the summed logits of all pairs (see spectra.py)."""
        model = self.state.model
        weights = {name: w.detach().cpu().numpy() for name, w in model.named_parameters()}
        W_L = (model.W_out @ model.W_U).detach().cpu().numpy()
        assert training.class_sums is not None and validation.class_sums is not None
        class_sums = (training.class_sums + validation.class_sums).numpy()
        self.rows.append(measure(self.state.epoch, self.state.task, weights, W_L, class_sums))

    def save_measures(self) -> None:
        measures.append(self.directory, self.rows)
        self.rows = []

    def save_labels(self) -> None:
        """Save the labels that the last probe has reached, and drop weights no label can want."""
        state = self.state
        for label, epoch in state.reached.items():
            if epoch == state.epoch:
                self.save_label(label, epoch, weights_of(state.model))
        if state.watch.grokked and state.watch.confirmed in state.kept:
            self.save_grokked(state.watch.confirmed)
        state.kept = {e: w for e, w in state.kept.items() if e in state.watch.waiting}

    def save_grokked(self, epoch: int) -> None:
        """Save the weights that were kept of the epoch at which the run has grokked."""
        self.save_label("grokked", epoch, self.state.kept[epoch])

    def save_label(self, label: str, epoch: int, weights: Weights) -> None:
        path = labeled_path(self.directory, label)
        try:
            path.parent.mkdir(exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot create {path.parent}: {error.strerror}") from error
        save_checkpoint(path, labeled_record(self.state, epoch, weights))

    def record_trajectory(self) -> None:
        """The weights of this epoch, if it is one of those that a run keeps."""
        state = self.state
        if state.config.trajectory and trajectory.is_kept(state.epoch, state.epoch):
            weights = labeled_record(state, state.epoch, weights_of(state.model))
            trajectory.record(self.directory, state.epoch, weights)

    def save_if_due(self) -> None:
        """A resumable checkpoint every GROK_CHECKPOINT_EVERY epochs, histories now and then."""
        due = self.state.epoch % self.state.config.checkpoint_every == 0
        if due and self.state.epoch != self.resumed_at:
            self.save()
            if time.monotonic() - self.history_written > HISTORY_INTERVAL:
                self.save_history()

    def save_last(self) -> None:
        """A resumable checkpoint where the loop ends, unless it is the one that it began with."""
        if self.state.epoch != self.resumed_at:
            self.save()

    def save(self) -> None:
        """Write checkpoint_latest.pt; the one before becomes checkpoint_previous.pt.

        The measures go first: a run resumed from here drops what is newer and lacks nothing. What
        was made of an earlier end of the run goes once the state after it is safe.
        """
        self.save_measures()
        latest = self.directory / f"{names.LATEST}.pt"
        try:
            if latest.exists():
                os.replace(latest, self.directory / f"{names.PREVIOUS}.pt")
        except OSError as error:
            raise RunError(f"cannot rename {latest}: {error.strerror}") from error
        save_checkpoint(latest, to_record(self.state))
        if self.continues:
            forget_results(self.directory)
            if self.state.watch.confirmed is None:
                labeled_path(self.directory, "grokked").unlink(missing_ok=True)
            self.continues = False

    def save_history(self) -> None:
        write_history(self.directory, self.state.history)
        self.save_measures()
        self.history_written = time.monotonic()


def newest_checkpoint(directory: Path) -> tuple[dict[str, Any] | None, str]:
    """The newest intact resumable checkpoint (None: there is none) and what was wrong with a newer one.

    The oldest of a branch is the state that it began with. A damaged checkpoint_latest.pt is replaced by
    the previous one at once, so that the next save cannot push the only intact one out.
    """
    latest, previous, fork = (
        directory / f"{name}.pt" for name in (names.LATEST, names.PREVIOUS, names.FORK)
    )
    faults = []
    for path in (latest, previous, fork):
        try:
            record = load_checkpoint(path) if path.exists() else None
        except Damaged as error:
            faults.append(str(error))
            continue
        if record is not None and "optimizer" not in record:
            raise UserError(f"{path}: holds weights alone, expected a checkpoint to resume from")
        if record is not None and path is previous:
            os.replace(previous, latest)
        if record is not None:
            return record, "; ".join(faults)
    if faults:
        raise AllDamaged(f"{'; '.join(faults)}; set GROK_OVERWRITE=1 to train again from the start")
    return None, ""
