"""The tables evaluated in plain PyTorch: the reference of every kernel, and what runs without one.

Any dtype, any device, under autograd.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from grokking.kernels.backend import Backend, Evaluation, no_class_sums
from grokking.model.loss import cross_entropy, is_correct
from grokking.model.tables import Tables
from grokking.model.transformer import relu

PAIRS_AT_ONCE = 4096  # pairs evaluated at once, which bounds the memory


@dataclass
class Reference(Backend):
    """Plain PyTorch, and why it is that."""

    threads: int = 1
    reason: str = ""
    name: str = "torch"
    precision: str = "float32"
    automatic: bool = True
    fused: bool = False

    def __str__(self) -> str:
        return f"plain PyTorch, because {self.reason}"

    def pair_loss(
        self, tables: Tables, pairs: Tensor, targets: Tensor, class_sums: bool = False
    ) -> tuple[Tensor, Evaluation]:
        logits, _ = forward(tables, pairs)
        losses = cross_entropy(logits, targets)
        return losses.mean(), Evaluation(
            losses.detach().double().mean().item(),
            int(is_correct(logits, targets).sum()),
            len(pairs),
            class_sums=sums_by_target(no_class_sums(tables.sizes[3]), targets, logits)
            if class_sums
            else None,
        )

    @torch.no_grad()
    def evaluate(
        self,
        tables: Tables,
        pairs: Tensor,
        targets: Tensor,
        logits: bool = False,
        class_sums: bool = False,
    ) -> Evaluation:
        loss_sum, correct, all_logits = 0.0, 0, []
        sums = no_class_sums(tables.sizes[3]) if class_sums else None
        for part, goal in zip(
            torch.split(pairs, PAIRS_AT_ONCE), torch.split(targets, PAIRS_AT_ONCE), strict=True
        ):
            of_part, _ = forward(tables, part)
            loss_sum += cross_entropy(of_part, goal).double().sum().item()
            correct += int(is_correct(of_part, goal).sum())
            if sums is not None:
                sums_by_target(sums, goal, of_part)
            if logits:
                all_logits.append(of_part)
        count = len(pairs)
        return Evaluation(
            loss_sum / count, correct, count, torch.cat(all_logits) if logits else None, sums
        )

    @torch.no_grad()
    def activations(self, tables: Tables, neurons: Tensor, out: Tensor | None = None) -> Tensor:
        p = len(tables.s0)
        every = torch.arange(p * p, device=neurons.device)
        parts = [forward(tables, part)[1][:, neurons] for part in torch.split(every, PAIRS_AT_ONCE)]
        surfaces = torch.cat(parts).reshape(p, p, len(neurons))
        return surfaces if out is None else out.copy_(surfaces)


def forward(tables: Tables, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """(logits [n, c], post [n, d_mlp]) of `pairs`: the folded model itself."""
    p = len(tables.s0)
    a, b = pairs // p, pairs % p
    scores = torch.stack([tables.s0[a], tables.s1[b], tables.s2.expand(len(pairs), -1)])
    alpha = scores.softmax(dim=0)  # [3, n, H]

    def mix(bias: Tensor, first: Tensor, second: Tensor) -> Tensor:
        of_a = torch.einsum("nh,nhk->nk", alpha[0], first[a])
        return bias + of_a + torch.einsum("nh,nhk->nk", alpha[1], second[b])

    post = relu(mix(tables.pre_bias, tables.A, tables.B))
    return post @ tables.W_L + mix(tables.logit_bias, tables.C, tables.D), post


def sums_by_target(sums: Tensor, targets: Tensor, logits: Tensor) -> Tensor:
    """`sums` [c, c] after adding each row of logits [n, c] to the row of its target."""
    return sums.index_add_(0, targets.to(sums.device), logits.detach().to(sums))
