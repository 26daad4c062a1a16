"""A recorded state seen with the run's final frequencies: the paper's progress measures.

The key frequencies are known only when a run is over. Everything here takes them as an argument
and a state from its checkpoint (see trajectory.py), so nothing is trained again.
Source: Nanda et al. (2023), arXiv 2301.05217, section 5.
"""

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
    component_norms,
    frequency_norms,
    gini,
    key_frequencies,
    mean_cross_entropy,
    project,
    restricted_loss,
    surface_shares,
)
from grokking.fourier import PERIODIC, Array
from grokking.kernels.backend import Backend
from grokking.model.tables import Tables
from grokking.model.transformer import Transformer, parameters_of
from grokking.task import targets


class Excluded(NamedTuple):
    """Loss of the training pairs without the key frequencies, and without one of them at a time."""

    all_at_once: float
    one_at_a_time: list[float]


@dataclass(frozen=True)
class Examined:
    """A model of one epoch, its tables and its logits at every pair."""

    epoch: int
    model: Transformer
    tables: Tables
    train: NDArray[np.int64]  # pair numbers
    validation: NDArray[np.int64]
    backend: Backend
    logits: NDArray[np.float32]  # [p * p, p]
    class_means: Array  # [p, p], see spectra.py

    @property
    def modulus(self) -> int:
        return self.model.modulus

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        return targets(self.modulus).numpy()

    @cached_property
    def losses(self) -> NDArray[np.float32]:
        """Loss of every pair in nats, [p * p]."""
        return mean_cross_entropy(self.logits, self.targets)

    @property
    def training_loss(self) -> float:
        return float(self.losses[self.train].mean(dtype=np.float64))

    @property
    def validation_loss(self) -> float:
        return float(self.losses[self.validation].mean(dtype=np.float64))

    @property
    def training_accuracy(self) -> float:
        return self._accuracy(self.train)

    @property
    def validation_accuracy(self) -> float:
        return self._accuracy(self.validation)

    def _accuracy(self, pairs: NDArray[np.int64]) -> float:
        return float((self.logits[pairs].argmax(axis=1) == self.targets[pairs]).mean())

    @property
    def embedding(self) -> NDArray[np.float32]:
        """W_E of the operands, [p, d_model]."""
        return self.model.W_E.numpy()[: self.modulus]

    def key_frequencies(self) -> list[int]:
        """The key rule (see spectra.py) applied to this state's W_L."""
        return key_frequencies(frequency_norms(component_norms(self.tables.W_L.numpy().T)))

    def restricted_loss(self, keys: Sequence[int]) -> float:
        """Loss over all pairs of the key frequencies of a + b and each logit's mean alone."""
        return restricted_loss(self.class_means, keys)

    def excluded_loss(self, keys: Sequence[int], pairs: NDArray[np.int64] | None = None) -> float:
        """Loss without the key frequencies of a + b: over the training pairs, or the given ones.

        From each logit its projections on cos and sin(w_k (a + b)) over the full grid are removed.
        """
        chosen = self.train if pairs is None else pairs
        goal = self.targets[chosen]  # (a + b) mod p: the row of the class means as well
        removed = project(self.class_means, keys).astype(np.float32)[goal]  # [n, p]
        return float(mean_cross_entropy(self.logits[chosen] - removed, goal).mean(dtype=np.float64))

    def excluded_losses(self, keys: Sequence[int]) -> Excluded:
        return Excluded(self.excluded_loss(keys), [self.excluded_loss([key]) for key in keys])

    def surfaces(self, neurons: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Post-ReLU activations at `=`, [p, p, n], of the chosen neurons or of all."""
        chosen = range(self.tables.W_L.shape[0]) if neurons is None else neurons
        return self.backend.activations(self.tables, torch.tensor(chosen)).numpy()

    def periodic_neurons(self) -> int:
        """Neurons with more than 85 % of their variance over all pairs in one frequency."""
        return int((surface_shares(self.surfaces()).max(axis=0) > PERIODIC).sum())


@torch.no_grad()
def examine(checkpoint: dict[str, Any], backend: Backend) -> Examined:
    """Evaluate the model of a checkpoint at every pair."""
    model = model_of(checkpoint)
    p, tables = model.modulus, backend.fold(parameters_of(model))
    pairs = torch.arange(p * p)
    result = backend.evaluate(tables, pairs, targets(p), logits=True, class_sums=True)
    assert result.logits is not None and result.class_sums is not None
    train: Tensor = checkpoint["train_pairs"]
    return Examined(
        checkpoint["epoch"],
        model,
        tables,
        train.numpy(),
        pairs[~torch.isin(pairs, train)].numpy(),
        backend,
        result.logits.numpy(),
        result.class_sums.numpy() / p,
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
    keys: list[int],
    backend: Backend,
    workers: int = 1,
) -> ProgressMeasures:
    """The progress measures of recorded states, in the order of their epochs.

    So many `workers` at a time call for a checkpoint and examine it; None is passed over.
    """

    def row(load: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
        checkpoint = load()
        return None if checkpoint is None else measures_of(examine(checkpoint, backend), keys)

    with ThreadPoolExecutor(workers) as pool:
        rows = [measured for measured in pool.map(row, checkpoints) if measured is not None]
    columns = {name: [measured[name] for measured in rows] for name in rows[0]}
    one_at_a_time = columns["excluded_losses_by_frequency"]
    columns["excluded_losses_by_frequency"] = [list(s) for s in zip(*one_at_a_time, strict=True)]
    return ProgressMeasures(keys, **columns)


def measures_of(state: Examined, keys: Sequence[int]) -> dict[str, Any]:
    """One entry of each list of ProgressMeasures."""
    parameters = state.model.state_dict()
    excluded = state.excluded_losses(keys)
    return {
        "epochs": state.epoch,
        "training_losses": state.training_loss,
        "validation_losses": state.validation_loss,
        "validation_accuracies": state.validation_accuracy,
        "restricted_losses": state.restricted_loss(keys),
        "excluded_losses": excluded.all_at_once,
        "excluded_losses_by_frequency": excluded.one_at_a_time,
        "periodic_neurons": state.periodic_neurons(),
        "squares_total": sum(float(w.double().square().sum()) for w in parameters.values()),
        "W_E_gini": gini(component_norms(state.embedding)),
        "W_L_gini": gini(component_norms(state.tables.W_L.numpy().T)),
    }
