"""Finds nvcc and compiles the CUDA kernels; setup.py and tools/gpu use it.

A CUDA compiler is looked for, not a GPU: the machine that builds need not be the one that runs.
"""

import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

USUAL = Path("/usr/local/cuda/bin/nvcc")
OLDEST = 75  # Turing, the oldest that CUDA 13 compiles for
FLAGS = ["-std=c++17", "-O3", "--compiler-options", "-fPIC,-fvisibility=hidden"]  # no fast-math


class Toolkit(NamedTuple):
    """An nvcc that works: where it is, what it compiles for, and where its static runtime lies."""

    nvcc: Path
    architectures: list[int]  # compute capabilities times ten, ascending
    libraries: Path  # holds libcudart_static.a


class NoToolkit(Exception):
    """Why there is no usable CUDA compiler."""


class NoCompiler(NoToolkit):
    """There is none at all."""


def build(sources: Path, target: Path) -> tuple[list[str], list[str]]:
    """(object files, options that link them with the static runtime), or NoToolkit."""
    toolkit = find_toolkit()
    if not is_newer(
        target, [Path(__file__), toolkit.nvcc, *sources.glob("*.h"), *sources.glob("*.cu*")]
    ):
        compile_kernels(toolkit, sources, target)
    return [str(target)], [f"-L{toolkit.libraries}", "-lcudart_static", "-ldl", "-lrt"]


def is_newer(target: Path, sources: list[Path]) -> bool:
    """Was the target made after every source?"""
    return target.exists() and target.stat().st_mtime > max(
        path.stat().st_mtime for path in sources
    )


def candidates(environment: Mapping[str, str], site_packages: Path) -> Iterator[Path]:
    """Where nvcc may be, best first: the user's word, PATH, the usual place, NVIDIA's wheels."""
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if environment.get(variable):
            yield Path(environment[variable]) / "bin" / "nvcc"
    on_path = shutil.which("nvcc", path=environment.get("PATH"))
    if on_path:
        yield Path(on_path)
    yield USUAL
    yield from sorted(site_packages.glob("nvidia/cu*/bin/nvcc"), reverse=True)


def find_toolkit(
    environment: Mapping[str, str] = os.environ, site_packages: Path | None = None
) -> Toolkit:
    """The first nvcc there is, or NoToolkit with the reason why it cannot serve."""
    packages = site_packages or Path(sysconfig.get_path("purelib"))
    found = [path for path in candidates(environment, packages) if os.access(path, os.X_OK)]
    if not found:
        raise NoCompiler(
            "no nvcc in CUDA_HOME, CUDA_PATH, PATH, /usr/local/cuda or NVIDIA's wheels"
        )
    nvcc = found[0]
    listed = ask(nvcc, "--list-gpu-arch")
    architectures = sorted(
        a for a in map(int, re.findall(r"compute_(\d+)\b", listed)) if a >= OLDEST
    )
    if not architectures:
        raise NoToolkit(f"{nvcc} compiles for nothing newer than compute capability 7.0")
    return Toolkit(nvcc, architectures, static_runtime(nvcc))


def static_runtime(nvcc: Path) -> Path:
    """The folder of libcudart_static.a among those that nvcc itself would link from."""
    plan = ask(nvcc, "--dryrun", "-x", "cu", "-c", os.devnull, "-o", os.devnull)
    folders = [Path(folder) for folder in re.findall(r'"-L([^"]+)"', plan)]
    folders += [folder.parent for folder in folders] + [nvcc.resolve().parent.parent / "lib"]
    for folder in folders:
        if (folder / "libcudart_static.a").exists():
            return folder.resolve()
    raise NoToolkit(f"{nvcc} comes without libcudart_static.a")


def output_of(command: list[str | Path]) -> "subprocess.CompletedProcess[str]":
    """A finished command; NoToolkit if it cannot be started. What it prints need not be text."""
    # In a temporary folder with a space in its name, nvcc --threads does not find its own files.
    folder = tempfile.gettempdir()
    environment = {**os.environ, "TMPDIR": "/tmp" if " " in folder else folder}
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment
        )
    except OSError as error:
        raise NoToolkit(f"{command[0]} cannot be run: {error.strerror}") from error


def ask(nvcc: Path, *arguments: str) -> str:
    done = output_of([nvcc, *arguments])
    if done.returncode != 0:
        raise NoToolkit(
            f"{nvcc} {' '.join(arguments)} failed: {' '.join(done.stderr.split())[:150]}"
        )
    return done.stdout + done.stderr


def machine_code(architectures: list[int]) -> list[str]:
    """nvcc's options for one architecture of each generation, which the later ones of it run too.

    PTX of the newest generation lets the driver compile for GPUs that do not exist yet.
    """
    oldest: dict[int, int] = {}
    for architecture in architectures:
        oldest.setdefault(architecture // 10, architecture)
    codes = [f"arch=compute_{a},code=sm_{a}" for a in oldest.values()]
    newest = max(oldest.values())
    return [f"-gencode={code}" for code in [*codes, f"arch=compute_{newest},code=compute_{newest}"]]


def compile_kernels(toolkit: Toolkit, sources: Path, target: Path) -> None:
    """Compile csrc/grid_cuda.cu for every generation of GPU; NoToolkit holds nvcc's complaint."""
    host = ["-ccbin", os.environ["CXX"].split()[0]] if os.environ.get("CXX") else []
    target.parent.mkdir(parents=True, exist_ok=True)
    command: list[str | Path] = [
        toolkit.nvcc, *FLAGS, *host, *machine_code(toolkit.architectures), "--threads", "0",
        "-c", sources / "grid_cuda.cu", "-o", target,
    ]  # fmt: skip
    done = output_of(command)
    if done.returncode != 0:
        raise NoToolkit(
            f"nvcc could not compile the kernels: {' '.join(done.stderr.split())[:200]}"
        )
