"""Which kernel computes a run, found out without importing torch, and why if it is plain PyTorch."""

import importlib
from types import ModuleType
from typing import NamedTuple

from grokking.errors import UserError

CUDA = "cuda"  # name of the implementation for NVIDIA GPUs


class Kernel(NamedTuple):
    """What evaluates the folded tables: an implementation of the extension, or plain PyTorch."""

    name: str | None  # None: plain PyTorch
    threads: int
    reason: str = ""  # why it is plain PyTorch

    def __str__(self) -> str:
        """The line a run starts with, such as "avx512, 2 threads"."""
        if self.name is None:
            return f"plain PyTorch, because {self.reason}"
        if self.name == CUDA:
            return CUDA
        return f"{self.name}, {self.threads} thread{'s' if self.threads > 1 else ''}"


def load() -> tuple[ModuleType | None, str]:
    """(the compiled module, "") or (None, why there is none)."""
    try:
        build_info = importlib.import_module("grokking._build_info")
    except ImportError:
        return None, "the extension was not built (run: pip install -e .)"
    if build_info.FALLBACK:
        return None, build_info.FALLBACK
    try:
        return importlib.import_module("grokking._C"), ""
    except ImportError as error:
        return None, f"the extension does not load ({error}); run: pip install -e ."


def implementations() -> list[str]:
    """Names this machine can run, best first; empty without the extension."""
    module, _ = load()
    return [name for name, _, _ in module.implementations()] if module else []


def cuda_devices() -> tuple[int, str]:
    """(devices the CUDA kernel could run on, "") or (0, why there are none)."""
    module, reason = load()
    if module is None:
        return 0, reason
    if not hasattr(module, "cuda_devices"):
        build_info = importlib.import_module("grokking._build_info")
        return 0, getattr(build_info, "CUDA_FALLBACK", "") or "the extension was built without CUDA"
    count, reason = module.cuda_devices()
    return count, reason


def choose_kernel(requested: str, threads: int) -> Kernel:
    """The kernel for GROK_KERNEL: `auto` (on the CPU), `torch`, or the name of an implementation.

    Raises UserError for a name that this machine cannot run.
    """
    if requested == CUDA:
        count, reason = cuda_devices()
        if count == 0:
            raise UserError(f"GROK_KERNEL is {CUDA!r}, which cannot run here: {reason}")
        return Kernel(CUDA, threads)
    if requested == "torch":
        return Kernel(None, threads, "GROK_KERNEL=torch asks for it")
    _, reason = load()
    names = implementations()
    if requested == "auto":
        return Kernel(names[0], threads) if names else Kernel(None, threads, reason)
    if requested not in names:
        choices = ", ".join(["auto", "torch", *names])
        missing = f"; {reason}" if reason else ""
        raise UserError(f"GROK_KERNEL is {requested!r}, expected one of {choices}{missing}")
    return Kernel(requested, threads)
