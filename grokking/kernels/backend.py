"""The one interface of all that evaluates folded tables.

Pair number n = a * p + b stands for the operands (a, b); a target is a class in [0, c). What the task
is, no backend knows: the target of every pair is given to it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from grokking.model.tables import Tables


class Evaluation(NamedTuple):
    """The score of some pairs, and what else was asked for."""

    loss: float  # mean, nats, in float64
    correct: int
    pairs: int
    logits: Tensor | None = None  # [n, c], on the tables' device
    class_sums: Tensor | None = None  # float64 [c, c] on the CPU: row t sums logits of target t

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


def no_class_sums(tables: Tables, device: torch.device | str = "cpu") -> Tensor:
    """Where the logits of every target's pairs are added up: zeros, float64 [c, c]."""
    classes = tables.sizes[3]
    return torch.zeros(classes, classes, dtype=torch.float64, device=device)


def with_gradients(value: float, tables: Tables, gradients: Sequence[Tensor]) -> Tensor:
    """A float32 scalar on the tables' device with these gradients, one a table."""
    scalar: Tensor = _WithGradients.apply(value, gradients, *tables)  # type: ignore[no-untyped-call]
    return scalar


class _WithGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: float, gradients: Sequence[Tensor], *tables: Tensor) -> Tensor:
        ctx.gradients = gradients
        return torch.tensor(value, dtype=torch.float32, device=tables[0].device)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        factor = grad.item()  # 1 in a plain loss.backward()
        gradients = ctx.gradients if factor == 1 else [g * factor for g in ctx.gradients]
        return (None, None, *gradients)


def multiply_adds(tables: Tables) -> int:
    """That the evaluation of all p * p pairs takes: mixing the hidden units, W_L, mixing the logits."""
    p, heads, d_mlp, classes = tables.sizes
    return p * p * (2 * heads * d_mlp + d_mlp * classes + 2 * heads * classes)
