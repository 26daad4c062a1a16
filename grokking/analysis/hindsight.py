"""A recorded state seen with the run's final frequencies: the paper's progress measures.

The key frequencies are known only when a run is over. Everything here takes them as an argument
and a state from its checkpoint (see trajectory.py), so nothing is trained again.
Source: Nanda et al. (2023), arXiv 2301.05217, section 5.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grokking.analysis.progress_measures import ProgressMeasures
from grokking.analysis.spectra import (
    basis_gini,
    block_norms,
    component_norms,
    key_blocks,
    mean_cross_entropy,
    project,
    restricted_loss,
    surface_shares,
)
from grokking.fourier import PERIODIC, Array, Basis
from grokking.kernels.backend import Backend
from grokking.model.tables import Tables
from grokking.model.transformer import Transformer, parameters_of
from grokking.task import Group, Task


class Excluded(NamedTuple):
    """Loss of the training pairs without the key frequencies, and without one of them at a time."""

    all_at_once: float
    one_at_a_time: list[float]


@dataclass(frozen=True)
class Examined:
    """A model of one epoch, its tables and its logits at every question.

    Where it is asked for a spectrum, a projection or a wave, its task has a group.
    """

    epoch: int
    task: Task
    model: Transformer
    tables: Tables
    train: NDArray[np.int64]  # places among the questions; none where the split is not known
    validation: NDArray[np.int64]  # all others
    backend: Backend
    logits: NDArray[np.float32]  # [q, p], of the questions in their order
    class_sums: Array  # [p, p]: row t sums the logits of the questions whose answer is t

    @property
    def modulus(self) -> int:
        return self.model.modulus

    @property
    def group(self) -> Group:
        """Its task's; ValueError where no basis is known."""
        if self.task.group is None:
            raise ValueError(f"no basis is known in which {self.task.words} would be sparse")
        return self.task.group

    @property
    def basis(self) -> Basis:
        return self.group.basis

    @property
    def targets(self) -> NDArray[np.int64]:
        """The class of each question's answer, [q]."""
        return self.task.targets

    @cached_property
    def elements(self) -> NDArray[np.int64]:
        """The element of each question's answer, [q]."""
        return self.group.classes[self.targets]

    @cached_property
    def class_means(self) -> Array:
        """Mean logits by element of the answer and of the class, [n, n], see spectra.py."""
        return self.group.class_means(self.class_sums)

    @cached_property
    def losses(self) -> NDArray[np.float32]:
        """Loss of every question in nats, [q]."""
        return mean_cross_entropy(self.logits, self.targets)

    @property
    def has_split(self) -> bool:
        """Is it known which pairs were trained on?"""
        return len(self.train) > 0

    @property
    def training_loss(self) -> float:
        """NaN, as the accuracy is, where the split is not known; then validation is of all pairs."""
        return self._loss(self.train)

    @property
    def validation_loss(self) -> float:
        return self._loss(self.validation)

    def _loss(self, pairs: NDArray[np.int64]) -> float:
        return float(self.losses[pairs].mean(dtype=np.float64)) if len(pairs) else math.nan

    @property
    def training_accuracy(self) -> float:
        return self._accuracy(self.train)

    @property
    def validation_accuracy(self) -> float:
        return self._accuracy(self.validation)

    def _accuracy(self, places: NDArray[np.int64]) -> float:
        if not len(places):
            return math.nan
        return float((self.logits[places].argmax(axis=1) == self.targets[places]).mean())

    @property
    def embedding(self) -> NDArray[np.float32]:
        """W_E of the operands, by their elements where there is a group: [n, d_model]."""
        W_E, group = self.model.W_E.numpy(), self.task.group
        return W_E[: self.modulus] if group is None else group.of_operands(W_E)

    @property
    def output(self) -> NDArray[np.float32]:
        """W_L of the classes by their elements, [n, d_mlp]."""
        return self.group.of_classes(self.tables.W_L.numpy().T)

    def key_blocks(self) -> list[int]:
        """The key rule (see spectra.py) applied to this state's W_L; empty without a group."""
        if self.task.group is None:
            return []
        return key_blocks(
            block_norms(component_norms(self.output, self.basis), self.basis), self.basis
        )

    def restricted_loss(self, keys: Sequence[int]) -> float:
        """Loss over all questions of the key blocks of the answer and each logit's mean alone."""
        return restricted_loss(self.class_means, keys, self.basis)

    def excluded_loss(self, keys: Sequence[int], places: NDArray[np.int64] | None = None) -> float:
        """Loss without the key blocks of the answer: over the training pairs, or the given questions.

        Over all questions where the split is not known. From each logit its projections on their
        functions of the answer, over the full grid, are removed. Classes that are no answer have no
        part in it.
        """
        chosen = (self.train if self.has_split else self.validation) if places is None else places
        goal, group = self.elements[chosen], self.group  # the row of the class means as well
        removed = project(self.class_means, keys, self.basis).astype(np.float32)[goal]  # [m, n]
        logits = self.logits[chosen]
        if not group.is_natural:
            logits = logits[:, group.class_order]
        return float(mean_cross_entropy(logits - removed, goal).mean(dtype=np.float64))

    def excluded_losses(self, keys: Sequence[int]) -> Excluded:
        return Excluded(self.excluded_loss(keys), [self.excluded_loss([key]) for key in keys])

    def surfaces(self, neurons: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Post-ReLU activations at `=` of all pairs, [p, p, m], of the chosen neurons or of all.

        Where there is no question they are of no meaning; `task.masked` writes NaN there.
        """
        chosen = range(self.tables.W_L.shape[0]) if neurons is None else neurons
        return self.backend.activations(self.tables, torch.tensor(chosen)).numpy()

    def grids(self, neurons: Sequence[int] | None = None) -> NDArray[np.float32]:
        """The same by elements of both operands, [n, n, m]."""
        return self.group.grid(self.surfaces(neurons))

    def shares(self, neurons: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Share of each neuron's variance over the questions in each block, [blocks, m]."""
        return surface_shares(self.grids(neurons), self.basis)

    def periodic_neurons(self) -> int:
        """Neurons with more than 85 % of their variance over all questions in one block."""
        return int((self.shares().max(axis=0, initial=0) > PERIODIC).sum())


@torch.no_grad()
def examine(checkpoint: dict[str, Any], task: Task, backend: Backend) -> Examined:
    """Evaluate the model of a checkpoint at every question of its task."""
    model = model_of(checkpoint)
    tables = backend.fold(parameters_of(model))
    pairs, goal = torch.from_numpy(task.questions), torch.from_numpy(task.targets)
    result = backend.evaluate(tables, pairs, goal, logits=True, class_sums=True)
    assert result.logits is not None and result.class_sums is not None
    train: Tensor = checkpoint["train_pairs"]
    return Examined(
        checkpoint["epoch"],
        task,
        model,
        tables,
        task.places(train.numpy()),
        np.flatnonzero(~torch.isin(pairs, train).numpy()),
        backend,
        result.logits.numpy(),
        result.class_sums.numpy(),
    )


def model_of(checkpoint: dict[str, Any]) -> Transformer:
    """The model whose weights a checkpoint holds."""
    config = checkpoint["config"]
    model = Transformer(
        config["modulus"],
        config["d_model"],
        config["num_heads"],
        config["d_mlp"],
        torch.Generator(),
    )
    model.load_state_dict(checkpoint["model"])
    return model.requires_grad_(False)


def look_back(
    checkpoints: Iterable[Callable[[], dict[str, Any] | None]],
    task: Task,
    keys: list[int],
    backend: Backend,
    workers: int = 1,
) -> ProgressMeasures:
    """The progress measures of recorded states, in the order of their epochs.

    So many `workers` at a time call for a checkpoint and examine it; None is passed over.
    """

    def row(load: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
        checkpoint = load()
        return None if checkpoint is None else measures_of(examine(checkpoint, task, backend), keys)

    with ThreadPoolExecutor(workers) as pool:
        rows = [measured for measured in pool.map(row, checkpoints) if measured is not None]
    columns = {name: [measured[name] for measured in rows] for name in rows[0]}
    one_at_a_time = columns["excluded_losses_by_frequency"]
    columns["excluded_losses_by_frequency"] = [list(s) for s in zip(*one_at_a_time, strict=True)]
    return ProgressMeasures(keys, **columns)


def measures_of(state: Examined, keys: Sequence[int]) -> dict[str, Any]:
    """One entry of each list of ProgressMeasures."""
    parameters = state.model.state_dict()
    measured: dict[str, Any] = {
        "epochs": state.epoch,
        "training_losses": state.training_loss if state.has_split else None,
        "validation_losses": state.validation_loss,
        "validation_accuracies": state.validation_accuracy,
        "squares_total": sum(float(w.double().square().sum()) for w in parameters.values()),
    }
    if state.task.group is None:
        unknown = (
            "restricted_losses",
            "excluded_losses",
            "periodic_neurons",
            "W_E_gini",
            "W_L_gini",
        )
        return measured | dict.fromkeys(unknown) | {"excluded_losses_by_frequency": []}
    excluded = state.excluded_losses(keys)
    return measured | {
        "restricted_losses": state.restricted_loss(keys),
        "excluded_losses": excluded.all_at_once,
        "excluded_losses_by_frequency": excluded.one_at_a_time,
        "periodic_neurons": state.periodic_neurons(),
        "W_E_gini": basis_gini(component_norms(state.embedding, state.basis), state.basis),
        "W_L_gini": basis_gini(component_norms(state.output, state.basis), state.basis),
    }
