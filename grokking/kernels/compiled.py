"""The compiled module: what it offers on this machine, or why there is none. Torch-free."""

import importlib
from types import ModuleType
from typing import NamedTuple


class Implementation(NamedTuple):
    """What an implementation says of itself."""

    name: str
    precision: str  # the format whose rounding its errors are held to
    automatic: bool  # may be chosen unasked


def load_extension() -> tuple[ModuleType | None, str]:
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


def implementations() -> dict[str, Implementation]:
    """Those this processor can run, by name, best first; empty without the extension."""
    module, _ = load_extension()
    implementations = module.implementations() if module else []
    return {name: Implementation(name, *facts) for name, *facts in implementations}


def cuda_devices() -> tuple[int, str]:
    """(devices the CUDA kernel could run on, "") or (0, why there are none)."""
    module, reason = load_extension()
    if module is None:
        return 0, reason
    if not hasattr(module, "cuda_devices"):
        build_info = importlib.import_module("grokking._build_info")
        return 0, getattr(build_info, "CUDA_FALLBACK", "") or "the extension was built without CUDA"
    count, reason = module.cuda_devices()
    return count, reason
