"""Everything that a training run carries from one epoch to the next, and its way into a checkpoint."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from grokking.config import Config, identity, split_seed_of, task_of, training_pairs
from grokking.detection import HALFWAY, MEMORIZED, Watch
from grokking.files.history import History
from grokking.model.transformer import Transformer
from grokking.task import Task
from grokking.training.clamp import Clamp
from grokking.training.optimizers import Optimizer
from grokking.training.split import (
    Split,
    split_after,
    split_generator,
    split_questions,
    weights_generator,
)

Weights = dict[str, Tensor]


@dataclass
class TrainingState:
    """The state after `epoch` steps."""

    config: Config
    task: Task
    split: Split
    model: Transformer
    optimizer: Optimizer
    epoch: int = 0
    history: History = field(default_factory=lambda: History([], [], [], [], []))
    watch: Watch = field(default_factory=Watch)
    reached: dict[str, int] = field(default_factory=dict)  # label -> epoch
    kept: dict[int, Weights] = field(default_factory=dict)  # epoch -> weights of candidates
    seconds: float = 0.0  # spent in the training loop, probes included
    clamp: Clamp | None = None  # of a branch that holds the norm of its weights


def new_state(config: Config, device: torch.device, task: Task | None = None) -> TrainingState:
    """Epoch 0 of a run: weights and split from the seed, each by its own generator."""
    task = task or task_of(config)
    sizes = config.modulus, config.d_model, config.num_heads, config.d_mlp
    model = Transformer(*sizes, weights_generator(config.seed))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(config.init_scale)
    model = model.to(device)
    count = training_pairs(len(task.questions), config.train_fraction)
    generator = split_generator(split_seed_of(vars(config)))
    split = split_questions(task, count, generator)
    return TrainingState(config, task, split, model, Optimizer(config, model))


def weights_of(model: Transformer) -> Weights:
    """A copy of the parameters on the CPU, under their TransformerLens names."""
    return {name: p.detach().to("cpu", copy=True) for name, p in model.named_parameters()}


def labeled_record(state: TrainingState, epoch: int, weights: Weights) -> dict[str, Any]:
    """Content of a labelled checkpoint: a model, and what is needed to understand it."""
    return {
        "epoch": epoch,
        "config": identity(state.config, state.task),
        "model": weights,
        "train_pairs": state.split.train,
    }


def to_record(state: TrainingState) -> dict[str, Any]:
    """Everything needed to resume, as the content of a checkpoint."""
    return {
        **labeled_record(state, state.epoch, weights_of(state.model)),
        "optimizer": state.optimizer.moments(),
        "history": _columns(state.history),
        "kept": {str(epoch): weights for epoch, weights in state.kept.items()},
        "seconds": state.seconds,
        **({} if state.clamp is None else {"clamp": state.clamp._asdict()}),
    }


def from_record(
    record: dict[str, Any], config: Config, device: torch.device, task: Task | None = None
) -> TrainingState:
    """The state that to_record described, to be continued under `config`."""
    state = new_state(config, device, task)
    state.model.load_state_dict(record["model"])
    state.optimizer.load(record["optimizer"], device)
    state.split = split_after(state.task, record["train_pairs"])
    state.epoch, state.seconds = record["epoch"], record["seconds"]
    state.kept = {int(epoch): weights for epoch, weights in record["kept"].items()}
    state.clamp = Clamp(**record["clamp"]) if "clamp" in record else None
    columns = {name: column.tolist() for name, column in record["history"].items()}
    for values in zip(*columns.values(), strict=True):
        append_probe(state, *values)
    return state


def append_probe(
    state: TrainingState,
    epoch: int,
    training_loss: float,
    validation_loss: float,
    training_accuracy: float,
    validation_accuracy: float,
) -> None:
    """Add one probe to the history and show it to the watch; non-finite values become None."""
    values = (training_loss, validation_loss, training_accuracy, validation_accuracy)
    finite = [v if math.isfinite(v) else None for v in values]
    history = state.history
    history.epochs.append(epoch)
    history.training_losses.append(finite[0])
    history.validation_losses.append(finite[1])
    history.training_accuracies.append(finite[2])
    history.validation_accuracies.append(finite[3])
    state.watch.observe(epoch, finite[2], finite[3])
    state.reached.setdefault("initial", epoch)
    if training_accuracy >= MEMORIZED:
        state.reached.setdefault("memorization", epoch)
    if validation_accuracy > HALFWAY:
        state.reached.setdefault("grokking", epoch)


def history_of(record: dict[str, Any]) -> History:
    """The history in a checkpoint, as its run writes it."""
    epochs, *series = (column.tolist() for column in record["history"].values())
    return History(epochs, *([None if math.isnan(v) else v for v in one] for one in series))


def _columns(history: History) -> dict[str, Tensor]:
    """The history as tensors, in the order of append_probe; NaN stands for None."""

    def reals(values: list[float | None]) -> Tensor:
        return torch.tensor([math.nan if v is None else v for v in values], dtype=torch.float64)

    return {
        "epochs": torch.tensor(history.epochs, dtype=torch.int64),
        "training_losses": reals(history.training_losses),
        "validation_losses": reals(history.validation_losses),
        "training_accuracies": reals(history.training_accuracies),
        "validation_accuracies": reals(history.validation_accuracies),
    }
