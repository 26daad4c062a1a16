"""The kernel as torch functions: loss of pairs with gradients, evaluation, surfaces.

Each function takes the folded tables and a `Kernel`. With an implementation's name it runs
the compiled extension (float32; on a GPU if the name is "cuda", else on the CPU); with None it
runs the plain PyTorch reference below, in any dtype, on any device and under autograd.
Pair number n = a * p + b; targets are classes.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from grokking import cuda_ops
from grokking.extension import CUDA, Kernel, load
from grokking.folding import Tables
from grokking.loss import cross_entropy, is_correct
from grokking.model import relu

CHUNK = 4096  # pairs the reference evaluates at once, which bounds its memory


class Evaluation(NamedTuple):
    """Score of some pairs; the mean loss in nats and in float64."""

    loss: float
    correct: int
    logits: Tensor | None = None  # [n, c], if asked for


class PairLoss(NamedTuple):
    """Loss of the training pairs: once for autograd, once in float64, and the correct count."""

    mean: Tensor  # scalar in the tables' dtype, differentiable in every table
    loss: float
    correct: int


def pair_loss(
    tables: Tables,
    pairs: Tensor,
    targets: Tensor,
    kernel: Kernel,
    class_sums: Tensor | None = None,
) -> PairLoss:
    """Mean cross-entropy of `pairs` (int64 [n], n >= 1), differentiable in every table.

    The gradients are those of the formulas in grokking/loss.py, which do not saturate.
    `class_sums`, float64 [c, c], gets += each pair's logits in the row of its target.
    """
    if kernel.name is None:
        return _reference_pair_loss(tables, pairs, targets, class_sums)
    score: list[float] = []
    mean = _PairLoss.apply(score, pairs, targets, kernel, class_sums, *tables)  # type: ignore[no-untyped-call]
    return PairLoss(mean, score[0], int(score[1]))


def evaluate(
    tables: Tables,
    pairs: Tensor,
    targets: Tensor,
    kernel: Kernel,
    logits: bool = False,
    class_sums: Tensor | None = None,
) -> Evaluation:
    """Mean loss and correct count of `pairs` (int64 [n], n >= 1) without [n, d_mlp] in memory.

    `class_sums`, float64 [c, c], gets += each pair's logits in the row of its target.
    """
    if kernel.name is None:
        return _reference_evaluate(tables, pairs, targets, logits, class_sums)
    out = torch.empty(len(pairs), tables.W_L.shape[1], device=pairs.device) if logits else None
    if kernel.name == CUDA:
        loss_sum, correct = cuda_ops.evaluate(tables, pairs, targets, out, class_sums)
        return Evaluation(loss_sum / len(pairs), correct, out)
    loss_sum, correct = _module().evaluate(
        _arrays(tables),
        pairs.numpy(),
        targets.numpy(),
        kernel.name,
        kernel.threads,
        None if out is None else out.numpy(),
        None if class_sums is None else class_sums.numpy(),
    )
    return Evaluation(loss_sum / len(pairs), correct, out)


def activations(
    tables: Tables, neurons: Tensor, kernel: Kernel, out: Tensor | None = None
) -> Tensor:
    """Post-ReLU activation surfaces [p, p, n] of `neurons` (int64 [n]); into `out` if given."""
    if kernel.name is None:
        return _reference_activations(tables, neurons)
    p = len(tables.s0)
    surfaces = torch.empty(p, p, len(neurons), device=neurons.device) if out is None else out
    if kernel.name == CUDA:
        cuda_ops.activations(tables, neurons, surfaces)
        return surfaces
    _module().activations(
        _arrays(tables), neurons.numpy(), kernel.name, kernel.threads, surfaces.numpy()
    )
    return surfaces


class _PairLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        score: list[float],
        pairs: Tensor,
        targets: Tensor,
        kernel: Kernel,
        class_sums: Tensor | None,
        *tables: Tensor,
    ) -> Tensor:
        on_device = cuda_ops.pair_loss if kernel.name == CUDA else _cpu_pair_loss
        loss_sum, correct, gradients = on_device(
            Tables(*tables), pairs, targets, kernel, class_sums
        )
        score.extend((loss_sum / len(pairs), correct))
        ctx.gradients = gradients
        return torch.tensor(loss_sum / len(pairs), dtype=torch.float32, device=pairs.device)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        factor = grad.item()  # 1 in a plain loss.backward()
        gradients = ctx.gradients if factor == 1 else [g * factor for g in ctx.gradients]
        return (None, None, None, None, None, *gradients)


def _cpu_pair_loss(
    tables: Tables, pairs: Tensor, targets: Tensor, kernel: Kernel, class_sums: Tensor | None
) -> tuple[float, int, list[Tensor]]:
    gradients = [torch.empty(table.shape) for table in tables]
    loss_sum, correct = _module().pair_loss(
        _arrays(tables),
        pairs.numpy(),
        targets.numpy(),
        kernel.name,
        kernel.threads,
        1 / len(pairs),
        _arrays(gradients),
        None if class_sums is None else class_sums.numpy(),
    )
    return loss_sum, correct, gradients


def _module() -> Any:
    module, reason = load()
    if module is None:
        raise RuntimeError(f"no compiled kernel: {reason}")
    return module


def _arrays(tables: Any) -> list[Any]:
    return [table.detach().contiguous().numpy() for table in tables]


def reference_logits(tables: Tables, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """(logits [n, c], post [n, d_mlp]) of `pairs` in plain PyTorch: the folded model itself."""
    p = len(tables.s0)
    a, b = pairs // p, pairs % p
    scores = torch.stack([tables.s0[a], tables.s1[b], tables.s2.expand(len(pairs), -1)])
    alpha = scores.softmax(dim=0)  # [3, n, H]

    def mix(bias: Tensor, first: Tensor, second: Tensor) -> Tensor:
        of_a = torch.einsum("nh,nhk->nk", alpha[0], first[a])
        return bias + of_a + torch.einsum("nh,nhk->nk", alpha[1], second[b])

    post = relu(mix(tables.pre_bias, tables.A, tables.B))
    return post @ tables.W_L + mix(tables.logit_bias, tables.C, tables.D), post


def multiply_adds(tables: Tables) -> int:
    """That the evaluation of all p * p pairs takes: mixing the hidden units, W_L, mixing the logits."""
    (p, heads), (hidden, classes) = tables.s0.shape, tables.W_L.shape
    return int(p * p * (2 * heads * hidden + hidden * classes + 2 * heads * classes))


def _reference_pair_loss(
    tables: Tables, pairs: Tensor, targets: Tensor, class_sums: Tensor | None
) -> PairLoss:
    logits, _ = reference_logits(tables, pairs)
    add_class_sums(class_sums, targets, logits)
    losses = cross_entropy(logits, targets)
    correct = int(is_correct(logits, targets).sum())
    return PairLoss(losses.mean(), losses.detach().double().mean().item(), correct)


@torch.no_grad()
def _reference_evaluate(
    tables: Tables, pairs: Tensor, targets: Tensor, logits: bool, class_sums: Tensor | None
) -> Evaluation:
    loss_sum, correct, kept = 0.0, 0, []
    for part, goal in zip(torch.split(pairs, CHUNK), torch.split(targets, CHUNK), strict=True):
        of_part, _ = reference_logits(tables, part)
        loss_sum += cross_entropy(of_part, goal).double().sum().item()
        correct += int(is_correct(of_part, goal).sum())
        add_class_sums(class_sums, goal, of_part)
        if logits:
            kept.append(of_part)
    return Evaluation(loss_sum / len(pairs), correct, torch.cat(kept) if logits else None)


def add_class_sums(class_sums: Tensor | None, targets: Tensor, logits: Tensor) -> None:
    """Add each row of logits [n, c] to the row of its target, if sums are wanted."""
    if class_sums is not None:
        rows = targets.to(class_sums.device)
        class_sums.index_add_(0, rows, logits.detach().to(class_sums))


@torch.no_grad()
def _reference_activations(tables: Tables, neurons: Tensor) -> Tensor:
    p = len(tables.s0)
    every = torch.arange(p * p, device=neurons.device)
    parts = [reference_logits(tables, part)[1][:, neurons] for part in torch.split(every, CHUNK)]
    return torch.cat(parts).reshape(p, p, len(neurons))
