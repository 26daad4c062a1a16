"""How losses are computed in a run: one interface, the plain PyTorch path and the folded model."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from grokking.kernels.backend import Backend, Evaluation, no_class_sums
from grokking.kernels.reference import sums_by_target
from grokking.model.loss import cross_entropy, is_correct
from grokking.model.tables import Tables
from grokking.model.transformer import Transformer, parameters_for_surfaces, parameters_of
from grokking.task import Task
from grokking.training.split import Split

CPU = torch.device("cpu")
PAIRS_AT_ONCE = 8192  # pairs evaluated at once by the plain path, which bounds its memory


class TrainingStep(NamedTuple):
    """The forward half of a training step: a differentiable mean loss and what it measured."""

    loss: Tensor
    score: Evaluation


class Engine(Protocol):
    """What training and probing need; implementations agree within float32 rounding."""

    train: Tensor  # pair numbers, on the device
    validation: Tensor

    def training_step(
        self, model: Transformer, pairs: Tensor, class_sums: bool = False
    ) -> TrainingStep:
        """Loss of some training pairs, ready for `loss.backward()`."""

    def evaluate(
        self,
        model: Transformer,
        pairs: Tensor,
        class_sums: bool = False,
        tables: Tables | None = None,
    ) -> Evaluation:
        """Score of some questions; `tables` are the model's, if a step has left them."""

    def surfaces(self, model: Transformer, neurons: list[int]) -> Tensor:
        """Post-ReLU activations at `=` of all pairs, float32 [p, p, len(neurons)] on the CPU."""


def targets_by_pair(task: Task, device: torch.device) -> Tensor:
    """The target of each pair number, int64 [p * p]; -1 where there is no question."""
    targets = torch.full((task.p**2,), -1)
    targets[torch.from_numpy(task.questions)] = torch.from_numpy(task.targets)
    return targets.to(device)


class OnSplit:
    """The parts of a split on a device, and the targets of its questions."""

    def __init__(self, task: Task, split: Split, device: torch.device) -> None:
        self.modulus = task.p
        self.train, self.validation = (pairs.to(device) for pairs in split)
        self.targets = targets_by_pair(task, device)
        self.of_whole_parts = [(part, self.targets[part]) for part in (self.train, self.validation)]

    def goal(self, pairs: Tensor) -> Tensor:
        """The targets of some questions, int64 [n]; of a whole part of the split they are at hand."""
        for part, goal in self.of_whole_parts:
            if part is pairs:
                return goal
        return self.targets[pairs]


class PlainEngine(OnSplit):
    """The last-position forward in plain PyTorch: no kernel, any device."""

    def __init__(self, task: Task, split: Split, device: torch.device) -> None:
        super().__init__(task, split, device)
        pairs = torch.arange(task.p**2, device=device)
        self.a, self.b = pairs // task.p, pairs % task.p

    def training_step(
        self, model: Transformer, pairs: Tensor, class_sums: bool = False
    ) -> TrainingStep:
        goal = self.goal(pairs)
        logits = model.logits_at_equals(self.a[pairs], self.b[pairs])  # [n, p]
        loss = cross_entropy(logits, goal).double().mean()
        correct = int(is_correct(logits, goal).sum())
        sums = sums_by_target(no_class_sums(self.modulus), goal, logits) if class_sums else None
        return TrainingStep(loss, Evaluation(loss.item(), correct, len(goal), class_sums=sums))

    @torch.no_grad()
    def evaluate(
        self,
        model: Transformer,
        pairs: Tensor,
        class_sums: bool = False,
        tables: Tables | None = None,
    ) -> Evaluation:
        loss, correct, count = 0.0, 0, len(pairs)
        sums = no_class_sums(self.modulus) if class_sums else None
        for part in torch.split(pairs, PAIRS_AT_ONCE):
            goal = self.targets[part]  # [m]
            logits = model.logits_at_equals(self.a[part], self.b[part])  # [m, p]
            loss += cross_entropy(logits, goal).double().sum().item()
            correct += int(is_correct(logits, goal).sum().item())
            if sums is not None:
                sums_by_target(sums, goal, logits)
        return Evaluation(loss / count, correct, count, class_sums=sums)

    @torch.no_grad()
    def surfaces(self, model: Transformer, neurons: list[int]) -> Tensor:
        chunks = [
            model.mlp_post_at_equals(a, b)[1][:, neurons].cpu()  # [m, len(neurons)]
            for a, b in zip(
                torch.split(self.a, PAIRS_AT_ONCE), torch.split(self.b, PAIRS_AT_ONCE), strict=True
            )
        ]
        return torch.cat(chunks).reshape(self.modulus, self.modulus, len(neurons))


class FoldedEngine(OnSplit):
    """The model folded into tables (see fold) and evaluated by a backend."""

    def __init__(
        self, task: Task, split: Split, backend: Backend, device: torch.device = CPU
    ) -> None:
        super().__init__(task, split, device)
        self.backend, self.device = backend, device

    def training_step(
        self, model: Transformer, pairs: Tensor, class_sums: bool = False
    ) -> TrainingStep:
        parameters, goal = parameters_of(model), self.goal(pairs)
        return TrainingStep(*self.backend.training_step(parameters, pairs, goal, class_sums))

    def evaluate(
        self,
        model: Transformer,
        pairs: Tensor,
        class_sums: bool = False,
        tables: Tables | None = None,
    ) -> Evaluation:
        tables = tables or self.backend.fold(parameters_of(model))
        return self.backend.evaluate(tables, pairs, self.goal(pairs), class_sums=class_sums)

    def surfaces(self, model: Transformer, neurons: list[int]) -> Tensor:
        chosen = torch.tensor(neurons, device=self.device)
        tables = self.backend.fold(parameters_for_surfaces(model))
        return self.backend.activations(tables, chosen).cpu()


def choose_engine(task: Task, split: Split, device: torch.device, backend: Backend) -> Engine:
    """The folded model where a fused kernel evaluates it, else plain PyTorch."""
    if backend.fused:
        return FoldedEngine(task, split, backend, device)
    return PlainEngine(task, split, device)
