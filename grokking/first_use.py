"""Before the CUDA kernel is trusted on a GPU, it is held to plain PyTorch there, once a process."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from grokking import ops
from grokking.data import targets
from grokking.errors import UserError
from grokking.extension import CUDA, Kernel, cuda_devices
from grokking.folding import Tables
from grokking.model import Transformer, fold

MODULUS, D_MODEL, HEADS, D_MLP = 37, 24, 3, 75  # odd, and no multiple of any tile
PLAIN = Kernel(None, 1)

Values = dict[str, Tensor]  # by name


@cache
def first_use_fault(device: torch.device) -> str:
    """Why the CUDA kernel is not to be used on this device, found by using it; "" if all is well."""
    try:
        return disagreement(Kernel(CUDA, 1), device)
    except (RuntimeError, ValueError) as error:  # what torch and the kernel raise for a CUDA error
        return f"the CUDA kernel failed its first use on {device}: {error}"


def kernel_on_gpu(
    requested: str,
    device: torch.device,
    threads: int,
    devices: Callable[[], tuple[int, str]] = cuda_devices,
    fault_on: Callable[[torch.device], str] = first_use_fault,
) -> Kernel:
    """The kernel for GROK_KERNEL (not `torch`) on a CUDA device; plain PyTorch says why it is.

    UserError if an implementation was asked for by name that cannot run there.
    """
    if requested not in ("auto", CUDA):
        raise UserError(
            f"GROK_KERNEL is {requested}, which runs on the CPU, but the device is {device}; "
            "set GROK_DEVICE=cpu"
        )
    count, reason = devices()
    if count == 0 and requested == CUDA:
        raise UserError(f"GROK_KERNEL is {CUDA}, which cannot run here: {reason}")
    fault = f"the CUDA kernel cannot run here: {reason}" if count == 0 else fault_on(device)
    return Kernel(None, threads, fault) if fault else Kernel(CUDA, threads)


def disagreement(kernel: Kernel, device: torch.device) -> str:
    """What a kernel computes otherwise than plain PyTorch on the same device, or ""."""
    tables = fold(Transformer(MODULUS, D_MODEL, HEADS, D_MLP, torch.Generator().manual_seed(0)))
    ours, plain, exact = (
        everything(Tables(*(table.detach().to(device, dtype) for table in tables)), use)
        for use, dtype in ((kernel, torch.float32), (PLAIN, torch.float32), (PLAIN, torch.float64))
    )
    difference = compare(ours, plain, exact)
    return (
        f"{kernel.name} disagrees with plain PyTorch on {device}: {difference}"
        if difference
        else ""
    )


def compare(ours: Values, plain: Values, exact: Values) -> str:
    """The first value that is too far from float64, or "".

    Allowed is four times the error of plain PyTorch in float32, plus 1e-5 of the value's norm:
    a fault of indices or order is percents, not rounding.
    """
    for name, true in exact.items():
        error, rounding = (float((x[name].double() - true).norm()) for x in (ours, plain))
        limit = 4 * rounding + 1e-5 * float(true.norm())
        if not error <= limit:
            return f"{name} is off by {error:.3g}, expected at most {limit:.3g}"
    return ""


def everything(tables: Tables, kernel: Kernel) -> Values:
    """All that a kernel computes, by name, from two thirds of the pairs and every third neuron."""
    device = tables.s0.device
    pairs = torch.arange(MODULUS**2, device=device)
    pairs = pairs[pairs % 3 != 1]
    goal = targets(MODULUS).to(device)[pairs]
    leaves = Tables(*(table.requires_grad_() for table in tables))
    loss = ops.pair_loss(leaves, pairs, goal, kernel)
    gradients = torch.autograd.grad(loss.mean, leaves)
    class_sums = torch.ones(MODULUS, MODULUS, dtype=torch.float64, device=device)
    found = ops.evaluate(tables, pairs, goal, kernel, logits=True, class_sums=class_sums)
    assert found.logits is not None
    return {
        "loss": torch.tensor([loss.loss, found.loss], dtype=torch.float64),
        "correct": torch.tensor([loss.correct, found.correct], dtype=torch.float64),
        "logits": found.logits.detach(),
        "class_sums": class_sums,
        "surfaces": ops.activations(
            tables, torch.arange(0, D_MLP, 3, device=device), kernel
        ).detach(),
        **{f"the gradient of {n}": g for n, g in zip(Tables._fields, gradients, strict=True)},
    }
