"""The one interface of all that folds the transformer into tables and evaluates them.

Pair number n = a * p + b stands for the operands (a, b); a target is a class in [0, c). What the task
is, no backend knows: the target of every pair is given to it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from grokking.model.fold import fold_parameters
from grokking.model.parameters import Parameters
from grokking.model.tables import Tables


class Evaluation(NamedTuple):
    """The score of some pairs, and what else was asked for."""

    loss: float  # mean, nats, in float64
    correct: int
    pairs: int
    logits: Tensor | None = None  # [n, c], on the tables' device
    class_sums: Tensor | None = None  # float64 [c, c] on the CPU: row t sums logits of target t
    tables: Tables | None = None  # of a training step whose class sums were asked for: its own

    @property
    def accuracy(self) -> float:
        """Share of the pairs that are correct."""
        return self.correct / self.pairs


class Backend(Protocol):
    """An implementation of the kernel, ready to run.

    All agree within the rounding of their precision, and repeat themselves bit for bit on the same
    machine, build and number of threads. The CPU's and the GPU's raise ValueError for an argument of
    another shape, dtype or device, or an index out of range, and RuntimeError if the device fails.
    """

    name: str
    threads: int  # >= 1, the calling thread included
    precision: str  # the format whose rounding its errors are held to, by torch's name
    automatic: bool  # may it be chosen unasked?
    fused: bool  # is it a compiled kernel, for which it pays to fold the model?
    reason: str  # why it is plain PyTorch, else ""

    @property
    def torch_threads(self) -> int:
        """Threads for torch: all of them, or one beside a fused kernel.

        What is then left to torch takes a millisecond or two. Its idle threads would spin on the
        cores that the kernel needs: another busy program on the machine then slows every epoch.
        """
        return 1 if self.fused else self.threads

    def pair_loss(
        self, tables: Tables, pairs: Tensor, targets: Tensor, class_sums: bool = False
    ) -> tuple[Tensor, Evaluation]:
        """(mean loss of the pairs, differentiable in every table; their score).

        pairs, targets: int64 [n], n >= 1, on the tables' device. The gradients are those of the
        formulas in grokking/model/loss.py, which do not saturate.
        """

    def evaluate(
        self,
        tables: Tables,
        pairs: Tensor,
        targets: Tensor,
        logits: bool = False,
        class_sums: bool = False,
    ) -> Evaluation:
        """The score of the pairs (int64 [n], n >= 1), without [n, d_mlp] in memory."""

    def activations(self, tables: Tables, neurons: Tensor, out: Tensor | None = None) -> Tensor:
        """Post-ReLU surfaces [p, p, n] of `neurons` (int64 [n]); in `out` if it is given."""

    @torch.no_grad()
    def fold(self, parameters: Parameters) -> Tables:
        """The tables of the transformer's parameters, to be evaluated and not differentiated."""
        return fold_parameters(parameters)

    def training_step(
        self, parameters: Parameters, pairs: Tensor, targets: Tensor, class_sums: bool = False
    ) -> tuple[Tensor, Evaluation]:
        """pair_loss of the folded parameters, differentiable (once) in each of them.

        With `class_sums` the score also has the tables, for whatever else is asked of these weights.
        """
        tables = fold_parameters(parameters)
        loss, score = self.pair_loss(tables, pairs, targets, class_sums)
        return loss, score._replace(tables=tables.detached() if class_sums else None)


def no_class_sums(classes: int, device: torch.device | str = "cpu") -> Tensor:
    """Where the logits of every target's pairs are added up: zeros, float64 [c, c]."""
    return torch.zeros(classes, classes, dtype=torch.float64, device=device)


def with_gradients(value: float, of: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """A float32 scalar with these gradients of these tensors, on their device; backward works once."""
    scalar: Tensor = _WithGradients.apply(value, gradients, *of)  # type: ignore[no-untyped-call]
    return scalar


class _WithGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: float, gradients: Sequence[Tensor], *of: Tensor) -> Tensor:
        ctx.gradients = gradients
        return torch.tensor(value, dtype=torch.float32, device=of[0].device)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("this loss was differentiated before; compute it again")
        # Kept here, they would be copied on their way into a parameter's `grad`.
        gradients, ctx.gradients = ctx.gradients, None
        factor = grad.item()  # 1 in a plain loss.backward()
        return (None, None, *(gradients if factor == 1 else [g * factor for g in gradients]))


def multiply_adds(tables: Tables) -> int:
    """That the evaluation of all p * p pairs takes: mixing the hidden units, W_L, mixing the logits."""
    p, heads, d_mlp, classes = tables.sizes
    return p * p * (2 * heads * d_mlp + d_mlp * classes + 2 * heads * classes)
