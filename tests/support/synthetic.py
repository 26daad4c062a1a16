"""Synthetic activation surfaces, histories and phases for the tests."""

from typing import Any

import numpy as np

from grokking.detection import DIVERGED, is_late, outcome
from grokking.files.history import History
from grokking.files.surfaces import Surface
from grokking.fourier import Array
from grokking.pictures.experiment import Experiment


def neuron(p: int, k: int, phase: float = 0.7) -> Array:
    """A grokked neuron: a rectified wave of frequency k, [p, p], not symmetric in x and y."""
    w, (x, y) = 2 * np.pi * k / p, np.indices((p, p))
    wave: Array = np.cos(w * x + phase) + 0.8 * np.cos(w * y) + np.cos(w * (x + y) - phase)
    return (wave - 0.2).clip(min=0)


def surface(p: int = 113, k: int = 19, neuron_index: int = 102) -> Surface:
    return Surface(neuron_index, p, neuron(p, k), epoch=8123)


def flat_surface(p: int, value: float = 0.0) -> Surface:
    return Surface(3, p, np.full((p, p), value))


def history(last: int = 400) -> History:
    """Memorises at epoch 20 and generalises at 200 of 400; two losses were not finite."""
    epochs = list(range(0, last + 1, 10))
    validation_losses: list[float | None] = [6.0 if e < 200 else 1e-3 for e in epochs]
    validation_losses[5:7] = [None, None]
    return History(
        epochs=epochs,
        training_losses=[5 * 0.9**e for e in epochs],
        validation_losses=validation_losses,
        training_accuracies=[min(1.0, e / 20) for e in epochs],
        validation_accuracies=[0.02 if e < 200 else 1.0 for e in epochs],
    )


def phases(
    memorized: int | None = 20,
    generalized: int | None = 200,
    collapsed: int | None = None,
    diverged: bool = False,
) -> dict[str, Any]:
    """What grokking.json has of a run with these epochs."""
    late = is_late(memorized, generalized)
    return {
        "memorization_epoch": memorized,
        "generalization_epoch": generalized,
        "grok_epoch": generalized if late else None,
        "outcome": DIVERGED if diverged else outcome(memorized, generalized),
        "collapse_epoch": collapsed,
    }


def described() -> Experiment:
    """What a page is told of its run."""
    return Experiment("addition mod 7", [("task", "(a + b) mod 7")], ["It departs in nothing."])
