"""How losses are computed in a run: one interface, the plain PyTorch path and the folded model."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from grokking.kernels.backend import Backend, Evaluation
from grokking.kernels.reference import sums_by_target
from grokking.model.loss import cross_entropy, is_correct
from grokking.model.tables import Tables
from grokking.model.transformer import Transformer, parameters_for_surfaces, parameters_of
from grokking.task import Split, all_pairs, targets

CPU = torch.device("cpu")
PAIRS_AT_ONCE = 8192  # pairs evaluated at once by the plain path, which bounds its memory


class TrainingStep(NamedTuple):
    """The forward half of a training step: a differentiable mean loss and what it measured."""

    loss: Tensor
    score: Evaluation


class Engine(Protocol):
    """What training and probing need; implementations agree within float32 rounding."""

    def training_step(self, model: Transformer, class_sums: bool = False) -> TrainingStep:
        """Loss of the training pairs, ready for `loss.backward()`."""

    def validate(
        self, model: Transformer, class_sums: bool = False, tables: Tables | None = None
    ) -> Evaluation:
        """Score of the validation pairs; `tables` are the model's, if a step has left them."""

    def surfaces(self, model: Transformer, neurons: list[int]) -> Tensor:
        """Post-ReLU activations at `=`, float32 [p, p, len(neurons)] on the CPU."""


class PlainEngine:
    """The last-position forward in plain PyTorch: no kernel, any device."""

    def __init__(self, modulus: int, split: Split, device: torch.device) -> None:
        self.a, self.b = (operand.to(device) for operand in all_pairs(modulus))
        self.targets = targets(modulus).to(device)
        self.train, self.validation = (pairs.to(device) for pairs in split)
        self.modulus = modulus

    def training_step(self, model: Transformer, class_sums: bool = False) -> TrainingStep:
        goal = self.targets[self.train]
        logits = model.logits_at_equals(self.a[self.train], self.b[self.train])  # [n, p]
        loss = cross_entropy(logits, goal).double().mean()
        correct = int(is_correct(logits, goal).sum())
        sums = sums_by_target(self.no_sums(), goal, logits) if class_sums else None
        return TrainingStep(loss, Evaluation(loss.item(), correct, len(goal), class_sums=sums))

    @torch.no_grad()
    def validate(
        self, model: Transformer, class_sums: bool = False, tables: Tables | None = None
    ) -> Evaluation:
        loss, correct, count = 0.0, 0, len(self.validation)
        sums = self.no_sums() if class_sums else None
        for pairs in torch.split(self.validation, PAIRS_AT_ONCE):
            goal = self.targets[pairs]  # [m]
            logits = model.logits_at_equals(self.a[pairs], self.b[pairs])  # [m, p]
            loss += cross_entropy(logits, goal).double().sum().item()
            correct += int(is_correct(logits, goal).sum().item())
            if sums is not None:
                sums_by_target(sums, goal, logits)
        return Evaluation(loss / count, correct, count, class_sums=sums)

    def no_sums(self) -> Tensor:
        return torch.zeros(self.modulus, self.modulus, dtype=torch.float64)

    @torch.no_grad()
    def surfaces(self, model: Transformer, neurons: list[int]) -> Tensor:
        chunks = [
            model.mlp_post_at_equals(a, b)[1][:, neurons].cpu()  # [m, len(neurons)]
            for a, b in zip(
                torch.split(self.a, PAIRS_AT_ONCE), torch.split(self.b, PAIRS_AT_ONCE), strict=True
            )
        ]
        return torch.cat(chunks).reshape(self.modulus, self.modulus, len(neurons))


class FoldedEngine:
    """The model folded into tables (see fold) and evaluated by a backend."""

    def __init__(
        self, modulus: int, split: Split, backend: Backend, device: torch.device = CPU
    ) -> None:
        self.backend = backend
        self.device = device
        self.train, self.validation = (pairs.to(device) for pairs in split)
        goal = targets(modulus).to(device)
        self.train_targets, self.validation_targets = goal[self.train], goal[self.validation]

    def training_step(self, model: Transformer, class_sums: bool = False) -> TrainingStep:
        parameters = parameters_of(model)
        return TrainingStep(
            *self.backend.training_step(parameters, self.train, self.train_targets, class_sums)
        )

    def validate(
        self, model: Transformer, class_sums: bool = False, tables: Tables | None = None
    ) -> Evaluation:
        return self.backend.evaluate(
            tables or self.backend.fold(parameters_of(model)),
            self.validation,
            self.validation_targets,
            class_sums=class_sums,
        )

    def surfaces(self, model: Transformer, neurons: list[int]) -> Tensor:
        chosen = torch.tensor(neurons, device=self.device)
        tables = self.backend.fold(parameters_for_surfaces(model))
        return self.backend.activations(tables, chosen).cpu()


def choose_engine(modulus: int, split: Split, device: torch.device, backend: Backend) -> Engine:
    """The folded model where a fused kernel evaluates it, else plain PyTorch."""
    if backend.fused:
        return FoldedEngine(modulus, split, backend, device)
    return PlainEngine(modulus, split, device)
