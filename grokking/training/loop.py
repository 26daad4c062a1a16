"""The training loop: every epoch is probed, then stepped, as one full batch unless told otherwise."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from grokking.config import Config
from grokking.files.history import History
from grokking.kernels.backend import Evaluation
from grokking.system.errors import Diverged
from grokking.system.signals import StopRequest
from grokking.training.engine import Engine, TrainingStep
from grokking.training.recorder import Recorder
from grokking.training.split import batches
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

    Epoch e is the state after e passes over the training pairs. A state that is at its end and
    probed is left as it is. A loss that is not finite raises Diverged at its epoch. Whatever ends the
    loop, the histories on disk are up to date.
    """
    in_batches = state.config.batch_size is not None
    lost = False  # a batch's loss was not finite
    try:
        while not (is_last(state) and not is_probed(state)):
            with timed(state):
                probed = is_probed(state)
                step = None
                if not in_batches:
                    step = engine.training_step(state.model, engine.train, class_sums=probed)
                    lost = not math.isfinite(step.score.loss)
                if probed or lost:
                    training = step.score if step else whole_score(state, engine, probed)
                    validation = probe(state, engine, training)
                    if probed:
                        recorder.measure(training, validation)
            recorder.save_labels()
            recorder.record_trajectory()
            watcher.update(state.epoch, state.history)
            if is_last(state) or stop.number is not None:
                break
            recorder.save_if_due()
            with timed(state):
                lost = advance(state, engine, step)
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


def whole_score(state: TrainingState, engine: Engine, class_sums: bool) -> Evaluation:
    """All training pairs at the present weights, which no batch has seen."""
    return engine.evaluate(state.model, engine.train, class_sums)


def probe(state: TrainingState, engine: Engine, training: Evaluation) -> Evaluation:
    """Measure the validation pairs, record the probe, keep the weights of a candidate."""
    sums = training.class_sums is not None
    validation = engine.evaluate(state.model, engine.validation, sums, training.tables)
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


def advance(state: TrainingState, engine: Engine, step: TrainingStep | None) -> bool:
    """One pass: the step that was begun, or one of each batch. Was a batch's loss not finite?"""
    config, lost = state.config, False
    parts = (
        [engine.train]
        if step
        else batches(engine.train, config.batch_size, config.seed, state.epoch)
    )
    for number, pairs in enumerate(parts):
        begun = step or engine.training_step(state.model, pairs)
        lost = lost or not math.isfinite(begun.score.loss)
        begun.loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step(rate_at(state.epoch * len(parts) + number, config))
        if state.clamp is not None:
            state.clamp.apply(state.model)
    state.epoch += 1
    return lost


def rate_at(step: int, config: Config) -> float:
    """The learning rate, warmed up as in the paper's code, min(step / 10, 1): the first one is 0."""
    warmup = config.warmup_steps
    return config.learning_rate * (min(step / warmup, 1.0) if warmup else 1.0)
