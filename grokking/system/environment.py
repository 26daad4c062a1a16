"""What a run ran on: versions, processor, device, commit. For config.json and bug reports."""

import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from grokking import __version__
from grokking.system.cores import available_cores


def choose_threads(wanted: int | None) -> int:
    """The number that was asked for, or the cores this process may use."""
    return wanted or available_cores()


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Let numbers below 1.2e-38 be 0 on this thread and on threads that it starts.

    After memorising, the gradient of most logits is that small, and on an x86 core each product
    with such a number takes a detour, which slows the whole training step.
    """
    torch.set_flush_denormal(True)  # False, and without effect, where the processor cannot
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def versions() -> dict[str, str | None]:
    """Versions of everything whose numbers could matter."""
    return {
        "grokking": __version__,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }


def device_name(device: torch.device) -> str:
    """Name of the GPU, or of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return cpu_name()


def cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux: the platform's own word follows
    return platform.processor() or platform.machine()


def git_commit() -> str | None:
    """Commit of the source tree this package runs from, with a + if it has changes; None outside one."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True
        )
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
