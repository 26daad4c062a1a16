"""What machine this is: processor, GPUs, driver, tools and versions."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from tools.gpu.parts.part import Missing
from tools.gpu.record import write_json

PACKAGES = ("torch", "triton", "numpy", "plotly", "setuptools", "pybind11", "ninja", "pytest")
TOOLS = ("nvcc", "compute-sanitizer", "ncu", "g++")
ASKED = ("name", "driver_version", "memory.total", "power.limit", "clocks.max.sm", "clocks.sm")
SECONDS = 3  # for one question to one tool


def main(result: Path) -> None:
    smi = ask("nvidia-smi", f"--query-gpu={','.join(ASKED)}", "--format=csv,noheader")
    found: dict[str, Any] = {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "packages": {name: version(name) for name in PACKAGES},
        "tools": {name: version_line(ask(name, "--version")) for name in TOOLS},
        "nvidia_smi": {"asked": ASKED, "answer": smi},
    }
    write_json(result, found)  # importing torch may be the end of it
    print(*(f"{name}: {value}" for name, value in found.items()), sep="\n", flush=True)
    import torch

    from grokking.system.environment import cpu_name, git_commit

    found |= {"processor": cpu_name(), "git_commit": git_commit(), "torch": of_torch()}
    write_json(result, found)
    print(found["processor"], found["git_commit"], found["torch"])
    if not torch.cuda.is_available():
        raise Missing(f"no GPU: torch {torch.__version__} sees none; nvidia-smi: {smi or 'none'}")


def of_torch() -> dict[str, Any]:
    """torch's version, the CUDA it was built with, and the devices that it sees."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    devices = [torch.cuda.get_device_properties(index) for index in range(count)]
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "devices": [
            {"name": d.name, "multiprocessors": d.multi_processor_count, "bytes": d.total_memory}
            for d in devices
        ],
    }


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def ask(*command: str) -> str | None:
    """What a tool prints, None if it is not there, fails or does not answer in time."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip()[:1000]


def version_line(text: str | None) -> str | None:
    """The first line that speaks of a version or a release, else the first."""
    lines = (text or "").splitlines()
    telling = [line for line in lines if "version" in line.lower() or "release" in line]
    return next(iter(telling or lines), None)
