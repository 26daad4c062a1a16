"""Which implementation computes a run, and why: GROK_KERNEL and GROK_DEVICE on this machine.

The one place that chooses and refuses. Torch is imported when something is chosen, not to refuse.
"""

from typing import TYPE_CHECKING

from grokking.kernels.compiled import cuda_devices, implementations, load_extension
from grokking.system.errors import UserError

if TYPE_CHECKING:
    import torch

    from grokking.kernels.backend import Backend

AUTO, TORCH, CUDA = "auto", "torch", "cuda"


def check(requested: str) -> None:
    """UserError for a GROK_KERNEL that this machine cannot run on any of its devices."""
    if requested == CUDA:
        count, reason = cuda_devices()
        if count == 0:
            raise UserError(f"GROK_KERNEL is {CUDA!r}, which cannot run here: {reason}")
    elif requested not in (choices := [AUTO, TORCH, *implementations()]):
        _, reason = load_extension()
        missing = f"; {reason}" if reason else ""
        raise UserError(
            f"GROK_KERNEL is {requested!r}, expected one of {', '.join(choices)}{missing}"
        )


def choose_device(requested: str) -> "torch.device":
    """The device of GROK_DEVICE; UserError if it is not there."""
    import torch

    if requested == AUTO:
        return torch.device(CUDA if torch.cuda.is_available() else "cpu")
    device = torch.device(requested)
    if device.type == CUDA:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise UserError(
                f"GROK_DEVICE is {requested}, but torch {torch.__version__} sees {count} CUDA "
                "devices here; use GROK_DEVICE=cpu, or install a CUDA build of torch"
            )
    return device


def choose_backend(requested: str, device: "torch.device", threads: int) -> "Backend":
    """What GROK_KERNEL takes on a device; plain PyTorch says why it is.

    UserError if an implementation was asked for by name that cannot run there.
    """
    if device.type == CUDA and requested != TORCH:
        return _choose_on_gpu(requested, device, threads)
    if requested == CUDA:
        import torch

        seen = torch.cuda.is_available()
        advice = "set GROK_DEVICE=cuda" if seen else f"torch {torch.__version__} sees no GPU"
        raise UserError(f"GROK_KERNEL is {CUDA}, but the device is {device}; {advice}")
    return choose_on_cpu(requested, threads)


def choose_on_cpu(requested: str, threads: int) -> "Backend":
    """What GROK_KERNEL takes on the processor: the best if it names the GPU's. Else as `choose`."""
    from grokking.kernels.cpu import on_cpu
    from grokking.kernels.reference import Reference

    if requested == TORCH:
        return Reference(threads, "GROK_KERNEL=torch asks for it")
    best = requested in (AUTO, CUDA)
    if not best:
        check(requested)
    for one in on_cpu(threads):
        if one.name == requested or (best and one.automatic):
            return one
    return Reference(threads, load_extension()[1])


def _choose_on_gpu(requested: str, device: "torch.device", threads: int) -> "Backend":
    from grokking.kernels.cuda import Cuda
    from grokking.kernels.parity import first_use_fault
    from grokking.kernels.reference import Reference

    if requested not in (AUTO, CUDA):
        raise UserError(
            f"GROK_KERNEL is {requested}, which runs on the CPU, but the device is {device}; "
            "set GROK_DEVICE=cpu"
        )
    check(requested)
    count, reason = cuda_devices()
    fault = first_use_fault(device) if count else f"the CUDA kernel cannot run here: {reason}"
    return Reference(threads, fault) if fault else Cuda(threads)
