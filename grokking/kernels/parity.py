"""Every implementation held to plain PyTorch; the CUDA kernel before a GPU is trusted, once a process."""

from functools import cache

import torch
from torch import Tensor

from grokking.kernels.backend import Backend
from grokking.kernels.cuda import Cuda
from grokking.kernels.reference import Reference
from grokking.model.tables import Tables
from grokking.model.transformer import Transformer, fold
from grokking.task import make_task

MODULUS, D_MODEL, HEADS, D_MLP = 37, 24, 3, 75  # odd, and no multiple of any tile

Outputs = dict[str, Tensor]  # by name


@cache
def first_use_fault(device: torch.device) -> str:
    """Why the CUDA kernel is not to be used on this device, found by using it; "" if all is well."""
    try:
        return disagreement(Cuda(), device)
    except (RuntimeError, ValueError) as error:  # what torch and the kernel raise for a CUDA error
        return f"the CUDA kernel failed its first use on {device}: {error}"


def disagreement(backend: Backend, device: torch.device) -> str:
    """What a backend computes otherwise than plain PyTorch on the same device, or ""."""
    tables = fold(Transformer(MODULUS, D_MODEL, HEADS, D_MLP, torch.Generator().manual_seed(0)))

    def computed(by: Backend, dtype: torch.dtype) -> Outputs:
        return everything(Tables(*(table.detach().to(device, dtype) for table in tables)), by)

    plain, precision, name = Reference(), getattr(torch, backend.precision), backend.name
    difference = compare(
        computed(backend, torch.float32),
        computed(plain, precision),
        computed(plain, torch.float64),
    )
    return f"{name} disagrees with plain PyTorch on {device}: {difference}" if difference else ""


def compare(ours: Outputs, plain: Outputs, exact: Outputs) -> str:
    """The first value that is too far from float64, or "".

    Allowed is four times the error of plain PyTorch in the backend's precision, plus 1e-5 of the
    value's norm: a fault of indices or order is percents, not rounding.
    """
    for name, true in exact.items():
        error, rounding = (float((x[name].double() - true).norm()) for x in (ours, plain))
        limit = 4 * rounding + 1e-5 * float(true.norm())
        if not error <= limit:
            return f"{name} is off by {error:.3g}, expected at most {limit:.3g}"
    return ""


def everything(tables: Tables, backend: Backend) -> Outputs:
    """All that a backend computes, by name, from two thirds of the pairs and every third neuron."""
    device = tables.s0.device
    pairs = torch.arange(MODULUS**2, device=device)
    pairs = pairs[pairs % 3 != 1]
    goal = torch.from_numpy(make_task("add", MODULUS).targets).to(device)[pairs]
    leaves = Tables(*(table.requires_grad_() for table in tables))
    mean, step = backend.pair_loss(leaves, pairs, goal, class_sums=True)
    gradients = torch.autograd.grad(mean, leaves)
    evaluation = backend.evaluate(tables, pairs, goal, logits=True, class_sums=True)
    surfaces = backend.activations(tables, torch.arange(0, D_MLP, 3, device=device))
    assert evaluation.logits is not None and evaluation.class_sums is not None
    assert step.class_sums is not None
    return {
        "loss": torch.tensor([step.loss, evaluation.loss], dtype=torch.float64),
        "correct": torch.tensor([step.correct, evaluation.correct], dtype=torch.float64),
        "logits": evaluation.logits.detach(),
        "class_sums": torch.stack([step.class_sums, evaluation.class_sums]),
        "surfaces": surfaces.detach(),
        **{f"the gradient of {n}": g for n, g in zip(Tables._fields, gradients, strict=True)},
    }
