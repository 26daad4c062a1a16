"""A small run folder for each outcome: planted weights, invented curves, real file formats.

Nothing is trained, so a folder takes a moment and holds the same network on every processor.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from grokking.analysis.hindsight import examine
from grokking.commands.report import write_report
from grokking.config import Config, as_record
from grokking.detection import detect
from grokking.files.checkpoint import save_checkpoint
from grokking.files.history import History, write_history
from grokking.files.json_files import write_json
from grokking.files.names import labeled_path
from grokking.files.surfaces import surfaces_of, write_surface
from grokking.files.trajectory import record
from grokking.kernels.reference import Reference
from grokking.model.transformer import Transformer
from grokking.pictures.introduction import run_described
from grokking.pictures.pages.run import write_run_pages
from tests.support.addition import addition

D_MODEL, D_MLP, HEADS = 32, 48, 2
KEYS = (3, 8, 11)
NEURONS = (6, 33)
SHARE = 0.5  # of the pairs
EVERY = 10  # epochs between probes
START = {
    "epoch": 0,
    "time": "2026-03-04T05:06:07Z",
    "device": "cpu",
    "device_name": "Test processor",
    "threads": 1,
    "kernel": "torch",
    "versions": {"grokking": "0.1.0", "git_commit": "abcdef0123+", "python": "3.11", "torch": "2"},
}


@dataclass(frozen=True)
class Course:
    """What a run goes through. `circuit`: how much of its weights is the circuit, by recorded epoch."""

    last: int
    memorised: int | None
    generalised: int | None = None
    lost: int | None = None  # epoch from which validation accuracy is at chance again
    circuit: Mapping[int, float] | None = None
    top: float = 1.0  # validation accuracy after generalising
    finite: bool = True
    finished: bool = True
    modulus: int = 31


# Recorded epochs are multiples of 16: those that a run keeps.
RISE = {0: 0.0, 16: 0.0, 112: 0.5, 208: 0.75, 304: 1.0}
COURSES = {
    "untrained": Course(1, None, circuit={0: 0.0, 1: 0.0}),
    "memoriser": Course(400, 50, circuit={0: 0.0, 112: 0.0, 400: 0.0}),
    "unfinished": Course(208, 50, circuit={0: 0.0, 112: 0.0, 208: 0.1}, finished=False),
    "at once": Course(304, 100, 150, circuit=RISE),
    "just now": Course(304, 50, 250, circuit={**RISE, 304: 0.92}, top=0.93),
    "converged": Course(400, 50, 250, circuit={**RISE, 400: 1.0}),
    "collapsed": Course(800, 50, 250, 500, circuit={**RISE, 608: 0.0, 800: 0.0}),
    "diverged": Course(120, 50, circuit={0: 0.0, 112: 0.0}, finite=False),
    "p = 53": Course(400, 50, 250, circuit={**RISE, 400: 1.0}, modulus=53),
}


def write_outcome(directory: Path, course: Course) -> Path:
    """The folder of such a run with every page that a run, its report and its surfaces have."""
    directory.mkdir(parents=True)
    config = config_of(course)
    fields = {name: {"value": value} for name, value in as_record(config).items()}
    write_json(directory / "config.json", {"config": fields, "starts": [START]})
    history = history_of(course)
    write_history(directory, history)
    for epoch, share in (course.circuit or {}).items():
        last = checkpoint(config, epoch, share)
        record(directory, epoch, last)
    if course.finished:
        finish(directory, course, history, last)
    write_report(directory, threads=1, kernel="torch")
    return directory


def config_of(course: Course) -> Config:
    return Config(
        modulus=course.modulus,
        d_model=D_MODEL,
        num_heads=HEADS,
        d_mlp=D_MLP,
        train_fraction=SHARE,
        num_epochs=course.last if course.finished else 2 * course.last,
        neurons=NEURONS,
    )


def history_of(course: Course) -> History:
    """Accuracies that jump at the epochs of the course, losses that follow them."""
    epochs = sorted({*range(0, course.last, EVERY), course.last})
    training = [float(course.memorised is not None and e >= course.memorised) for e in epochs]
    validation = [_validation(course, epoch) for epoch in epochs]
    losses: list[float | None] = [3.5 - 3.4 * accuracy for accuracy in training]
    validation_losses: list[float | None] = [5.0 - 4.9 * accuracy for accuracy in validation]
    if not course.finite:
        losses[-1] = validation_losses[-1] = None
    return History(epochs, losses, validation_losses, [*training], [*validation])


def _validation(course: Course, epoch: int) -> float:
    generalises = course.generalised is not None and epoch >= course.generalised
    lost = course.lost is not None and epoch >= course.lost
    return course.top if generalises and not lost else 0.02


def finish(directory: Path, course: Course, history: History, last: Mapping[str, Any]) -> None:
    """What a run leaves at its end; a diverged one leaves no weights."""
    phases = detect(
        history.epochs,
        history.training_accuracies,
        history.validation_accuracies,
        diverged=not course.finite,
    )
    result = {
        **asdict(phases),
        "final_training_accuracy": history.training_accuracies[-1],
        "final_validation_accuracy": history.validation_accuracies[-1],
        "seconds": 1.0,
        "epochs_per_second": float(course.last),
    }
    surfaces, task = [], addition(course.modulus)
    if course.finite:
        labeled_path(directory, "final").parent.mkdir()
        save_checkpoint(labeled_path(directory, "final"), last)
        values = examine(dict(last), task, Reference()).surfaces(NEURONS)
        surfaces = surfaces_of(task, NEURONS, values, course.last)
    for surface in surfaces:
        write_surface(directory, surface)
    described = run_described(directory, course.last, history, result)
    write_run_pages(directory, described, history, result, surfaces, task)
    write_json(directory / "grokking.json", result)


def checkpoint(config: Config, epoch: int, share: float) -> dict[str, Any]:
    """The record of an epoch whose weights are `share` circuit and the rest as they were drawn."""
    p = config.modulus
    generator = torch.Generator().manual_seed(0)
    drawn = Transformer(p, D_MODEL, HEADS, D_MLP, generator).state_dict()
    planted = circuit(p)
    pairs = torch.randperm(p * p, generator=generator)[: config.training_pairs].sort().values
    return {
        "epoch": epoch,
        "config": as_record(config),
        "model": {name: (1 - share) * drawn[name] + share * planted[name] for name in drawn},
        "train_pairs": pairs,
    }


def circuit(p: int) -> dict[str, Tensor]:
    """Weights that add by waves: numbers on circles, neurons that are rectified waves of a + b.

    Neuron i of a key frequency k has the phase f: relu(cos(w a + f) + cos(w b + f)). Its second
    harmonic in w (a + b) / 2 is cos(w (a + b) + 2 f), which W_out reads off and W_U compares with c.
    """
    n, per_key, d_head = 2 * len(KEYS), D_MLP // len(KEYS), D_MODEL // HEADS
    angles = 2 * math.pi / p * torch.outer(torch.tensor(KEYS), torch.arange(p))  # [keys, p]
    waves = torch.stack([angles.cos(), angles.sin()], 1).reshape(n, p)
    phases = 2 * math.pi * torch.arange(per_key) / per_key
    weights = {
        name: torch.zeros_like(weight)
        for name, weight in Transformer(p, D_MODEL, HEADS, D_MLP, torch.Generator())
        .state_dict()
        .items()
    }
    weights["W_E"][:p, :n] = waves.T
    weights["W_V"][0, :d_head, :] = weights["W_O"][0, :, :d_head] = torch.eye(d_head)
    for i in range(len(KEYS)):
        neurons = slice(i * per_key, (i + 1) * per_key)
        weights["W_in"][2 * i : 2 * i + 2, neurons] = 4 * torch.stack([phases.cos(), -phases.sin()])
        reads = torch.stack([(2 * phases).cos(), -(2 * phases).sin()], 1)
        weights["W_out"][neurons, d_head + 2 * i : d_head + 2 * i + 2] = reads
    weights["W_U"][d_head : d_head + n] = 4 * waves
    return weights
