"""The training loop: full-batch AdamW; every epoch is probed, then stepped."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from grokking.files.history import History
from grokking.kernels.backend import Evaluation
from grokking.system.errors import Diverged
from grokking.system.signals import StopRequest
from grokking.training.engine import Engine, TrainingStep
from grokking.training.recorder import Recorder
from grokking.training.state import TrainingState, append_probe, weights_of


class Watcher(Protocol):
    """What is shown, or not, while a run trains."""

    def update(self, epoch: int, history: History) -> None:
        """Called after each epoch."""

    def close(self) -> None:
        """Called once, however the training ends."""


def train(
    state: TrainingState, engine: Engine, recorder: Recorder, watcher: Watcher, stop: StopRequest
) -> None:
    """Train until the last epoch, a confirmed grok plus its margin, or a signal.

    Epoch e is the state after e steps. A state that is at its end and probed is left as it is. A
    loss that is not finite raises Diverged at its
    epoch. Whatever ends the loop, the histories on disk are up to date.
    """
    try:
        while not (is_last(state) and not is_probed(state)):
            with timed(state):
                probed = is_probed(state)
                step = engine.training_step(state.model, class_sums=probed)
                if probed or not math.isfinite(step.score.loss):
                    validation = probe(state, engine, step.score)
                if probed:
                    recorder.measure(step.score, validation)
            recorder.save_labels()
            recorder.record_trajectory()
            watcher.update(state.epoch, state.history)
            if is_last(state) or stop.number is not None:
                break
            recorder.save_if_due()
            with timed(state):
                advance(state, step)
        recorder.save_last()
    finally:
        recorder.save_history()


@contextmanager
def timed(state: TrainingState) -> Iterator[None]:
    """Count the block towards the run's training seconds."""
    began = time.perf_counter()
    yield
    state.seconds += time.perf_counter() - began


def is_probed(state: TrainingState) -> bool:
    """Every GROK_PROBE_EVERY epochs, and at both ends; never twice, as after a resume."""
    due = state.epoch % state.config.probe_every == 0 or is_last(state)
    return due and state.epoch not in state.history.epochs[-1:]


def is_last(state: TrainingState) -> bool:
    """Is the state's epoch the end of the run?"""
    return state.watch.is_over(state.epoch, state.config.num_epochs, state.config.stop_after_grok)


def probe(state: TrainingState, engine: Engine, training: Evaluation) -> Evaluation:
    """Measure the validation pairs, record the probe, keep the weights of a candidate."""
    validation = engine.validate(
        state.model, class_sums=training.class_sums is not None, tables=training.tables
    )
    append_probe(
        state, state.epoch, training.loss, validation.loss, training.accuracy, validation.accuracy
    )
    if state.epoch in state.watch.waiting:
        state.kept[state.epoch] = weights_of(state.model)
    for part, score in (("training", training), ("validation", validation)):
        if not math.isfinite(score.loss):
            raise Diverged(
                f"the run diverged: the {part} loss is {score.loss} at epoch {state.epoch}"
            )
    return validation


def advance(state: TrainingState, step: TrainingStep) -> None:
    """One AdamW step. Warm-up as in the paper's code, min(step / 10, 1): the first rate is 0."""
    warmup = state.config.warmup_steps
    rate = state.config.learning_rate * (min(state.epoch / warmup, 1.0) if warmup else 1.0)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    state.optimizer.zero_grad()
    step.loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    state.epoch += 1
