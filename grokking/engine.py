"""How losses are computed in a run: one interface, the plain PyTorch path and the fused kernel."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from grokking import ops
from grokking.data import Split, all_pairs, targets
from grokking.extension import Kernel
from grokking.folding import Tables
from grokking.loss import cross_entropy, is_correct
from grokking.model import Transformer, fold, fold_for_surfaces

CPU = torch.device("cpu")
CHUNK = 8192  # pairs evaluated at once by the plain path, which bounds its memory


class Score(NamedTuple):
    """Mean loss (nats, float64) and share of correct pairs of one part of the split."""

    loss: float
    accuracy: float


class Step(NamedTuple):
    """The forward half of a training step: a differentiable mean loss and what it measured."""

    loss: Tensor
    score: Score


class Engine(Protocol):
    """What training and probing need; implementations agree within float32 rounding.

    `class_sums`, float64 [p, p] on the CPU, gets += each pair's logits in the row of its target.
    """

    def training_step(self, model: Transformer, class_sums: Tensor | None = None) -> Step:
        """Loss of the training pairs, ready for `loss.backward()`."""

    def validate(self, model: Transformer, class_sums: Tensor | None = None) -> Score:
        """Score of the validation pairs."""

    def surfaces(self, model: Transformer, neurons: list[int]) -> Tensor:
        """Post-ReLU activations at `=`, float32 [p, p, len(neurons)] on the CPU."""


class PlainEngine:
    """The last-position forward in plain PyTorch: no kernel, any device."""

    def __init__(self, modulus: int, split: Split, device: torch.device) -> None:
        self.a, self.b = (operand.to(device) for operand in all_pairs(modulus))
        self.targets = targets(modulus).to(device)
        self.train, self.validation = (pairs.to(device) for pairs in split)
        self.modulus = modulus

    def training_step(self, model: Transformer, class_sums: Tensor | None = None) -> Step:
        goal = self.targets[self.train]
        logits = model.logits_at_equals(self.a[self.train], self.b[self.train])
        ops.add_class_sums(class_sums, goal, logits)
        loss = cross_entropy(logits, goal).double().mean()
        accuracy = is_correct(logits, goal).double().mean()
        return Step(loss, Score(loss.item(), accuracy.item()))

    @torch.no_grad()
    def validate(self, model: Transformer, class_sums: Tensor | None = None) -> Score:
        loss, correct = 0.0, 0
        for pairs in torch.split(self.validation, CHUNK):
            logits = model.logits_at_equals(self.a[pairs], self.b[pairs])
            loss += cross_entropy(logits, self.targets[pairs]).double().sum().item()
            correct += int(is_correct(logits, self.targets[pairs]).sum().item())
            ops.add_class_sums(class_sums, self.targets[pairs], logits)
        return Score(loss / len(self.validation), correct / len(self.validation))

    @torch.no_grad()
    def surfaces(self, model: Transformer, neurons: list[int]) -> Tensor:
        chunks = [
            model.mlp_post_at_equals(a, b)[1][:, neurons].cpu()
            for a, b in zip(torch.split(self.a, CHUNK), torch.split(self.b, CHUNK), strict=True)
        ]
        return torch.cat(chunks).reshape(self.modulus, self.modulus, len(neurons))


class FoldedEngine:
    """The model folded into tables (see fold) and evaluated by the fused kernel."""

    def __init__(
        self, modulus: int, split: Split, kernel: Kernel, device: torch.device = CPU
    ) -> None:
        self.kernel = kernel
        self.device = device
        self.train, self.validation = (pairs.to(device) for pairs in split)
        goal = targets(modulus).to(device)
        self.train_targets, self.validation_targets = goal[self.train], goal[self.validation]
        self.probed: tuple[Tensor, Tables] | None = (
            None  # weights of the probed step, and its tables
        )

    def training_step(self, model: Transformer, class_sums: Tensor | None = None) -> Step:
        tables = fold(model)
        result = ops.pair_loss(tables, self.train, self.train_targets, self.kernel, class_sums)
        if class_sums is not None:
            self.probed = flat_weights(model), tables
        return Step(result.mean, Score(result.loss, result.correct / len(self.train)))

    def validate(self, model: Transformer, class_sums: Tensor | None = None) -> Score:
        result = ops.evaluate(
            self.tables_of(model),
            self.validation,
            self.validation_targets,
            self.kernel,
            class_sums=class_sums,
        )
        return Score(result.loss, result.correct / len(self.validation))

    @torch.no_grad()
    def tables_of(self, model: Transformer) -> Tables:
        """The tables of the step that is being probed if these are its weights, else folded anew."""
        if self.probed is not None and torch.equal(self.probed[0], flat_weights(model)):
            return self.probed[1]
        return fold(model)

    @torch.no_grad()
    def surfaces(self, model: Transformer, neurons: list[int]) -> Tensor:
        chosen = torch.tensor(neurons, device=self.device)
        return ops.activations(fold_for_surfaces(model), chosen, self.kernel).cpu()


def flat_weights(model: Transformer) -> Tensor:
    """A copy of all parameters in one row."""
    return parameters_to_vector(model.parameters()).detach()


def choose_engine(modulus: int, split: Split, device: torch.device, kernel: Kernel) -> Engine:
    """The fused kernel where there is one for the device, else plain PyTorch."""
    if kernel.name is None:
        return PlainEngine(modulus, split, device)
    return FoldedEngine(modulus, split, kernel, device)
