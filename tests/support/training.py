"""The loop on a tiny model, without files of a run's end and without anything shown."""

from dataclasses import replace

import torch

from grokking.kernels.backend import Evaluation
from grokking.system.signals import StopRequest
from grokking.training.engine import PlainEngine, TrainingStep
from grokking.training.loop import train
from grokking.training.recorder import Recorder, newest_checkpoint
from grokking.training.state import from_record, new_state, to_record
from tests.support.addition import addition
from tests.support.tiny import CONFIG

CPU = torch.device("cpu")
TINY = replace(CONFIG, num_epochs=20)  # with a checkpoint that is neither first nor last


class Silent:
    """Progress that shows nothing, and may ask the run to stop after an epoch."""

    def __init__(self, stop_after=None):
        self.stop, self.stop_after = StopRequest(), stop_after

    def update(self, epoch, history):
        if epoch == self.stop_after:
            self.stop.number = 15


def run(config, directory, state=None, engine=None, stop_after=None):
    state = state or new_state(config, CPU)
    engine = engine or PlainEngine(addition(config.modulus), state.split, CPU)
    progress = Silent(stop_after)
    train(state, engine, Recorder(state, directory), progress, progress.stop)
    return state


def resume(config, directory):
    record, fault = newest_checkpoint(directory)
    assert fault == ""
    return from_record(record, config, CPU)


def assert_same(ours, theirs):
    """Every tensor and number that decides how the run goes on, bit for bit."""
    a, b = to_record(ours), to_record(theirs)
    a.pop("seconds"), b.pop("seconds")
    assert_identical(a, b)


def assert_identical(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_identical(a[key], b[key])
    elif isinstance(a, torch.Tensor):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert a.reshape(-1).view(torch.uint8).equal(b.reshape(-1).view(torch.uint8))
    else:
        assert a == b


class Scripted:
    """An engine whose accuracies and losses are given; its gradients are real but tiny."""

    def __init__(self, validation=lambda e: 0.1, training=lambda e: 1.0, loss=lambda e: 1.0):
        self.validation_accuracy, self.training_accuracy, self.loss = validation, training, loss
        self.train = self.validation = None  # pairs, which it does not look at
        self.epoch = -1

    def training_step(self, model, pairs, class_sums=False):
        self.epoch += 1
        accuracy = self.training_accuracy(self.epoch)
        score = self.score(model, self.loss(self.epoch), accuracy, class_sums)
        return TrainingStep(sum(p.sum() for p in model.parameters()), score)

    def evaluate(self, model, pairs, class_sums=False, tables=None):
        return self.score(model, 1.0, self.validation_accuracy(self.epoch), class_sums)

    def score(self, model, loss, accuracy, class_sums):
        zeros = torch.zeros(model.modulus, model.modulus, dtype=torch.float64)
        return Evaluation(loss, accuracy, 1, class_sums=zeros if class_sums else None)
