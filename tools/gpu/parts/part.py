"""What all parts share: how one says that something is missing, and what several need."""

import shutil
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from tools.gpu.record import ROOT

if TYPE_CHECKING:
    import torch

EXIT_MISSING = 77


class Missing(Exception):
    """What this machine lacks, so that the part cannot be done."""


def tool(name: str) -> str:
    """Path of an external program, or Missing."""
    path = shutil.which(name)
    if path is None:
        raise Missing(f"no {name} on PATH or in CUDA's usual folders")
    return path


def extension() -> ModuleType:
    """The compiled extension of this very tree, or Missing: an installed one may be of another."""
    from grokking.kernels.compiled import load_extension

    module, reason = load_extension()
    if module is None:
        raise Missing(reason)
    if ROOT not in Path(str(module.__file__)).resolve().parents:
        raise Missing(f"the extension was not built here: {module.__file__} is not of this tree")
    return module


def gpus() -> "list[torch.device]":
    """Every GPU that both torch and this tree's CUDA kernel can use, or Missing with the reason."""
    import torch

    from grokking.kernels.compiled import cuda_devices

    if not torch.cuda.is_available():
        raise Missing(f"torch {torch.__version__} sees no GPU")
    extension()
    count, reason = cuda_devices()
    if count == 0:
        raise Missing(f"the CUDA kernel cannot run here: {reason}")
    return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
