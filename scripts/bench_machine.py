"""What bench.py knows about the machine: its name, its FMA peak, memory, and MKL's paths."""

import ctypes
import datetime
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from grokking.system.environment import git_commit

HERE = Path(__file__).resolve().parent


def describe() -> dict[str, Any]:
    """Processor, cores, versions and date, as a published number needs them."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    cpu = {key.strip(): value.strip() for key, value in fields.items()}
    versions = {}
    for package in ("torch", "numpy", "transformer-lens"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "processor": cpu.get("model name", platform.processor() or platform.machine()),
        "family": " ".join(cpu.get(key, "?") for key in ("cpu family", "model", "stepping")),
        "cores": os.cpu_count(),
        "avx512": "avx512f" in cpu.get("flags", ""),
        "system": platform.system(),
        "python": platform.python_version(),
        **versions,
        "commit": git_commit(),
        "date": datetime.date.today().isoformat(),
    }


def compile_library(source: str, flags: list[str], folder: Path) -> Path:
    """A shared library from a C++ source file, built for this machine; RuntimeError if it cannot be."""
    library = folder / f"{Path(source).stem}.so"
    compiler = os.environ.get("CXX", "c++")
    command = [compiler, *flags, "-shared", "-fPIC", source, "-o", str(library)]
    try:
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    except OSError as error:
        raise RuntimeError(f"{compiler} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        told = fault(done.stderr) or f"exit code {done.returncode}"
        raise RuntimeError(f"{compiler} failed: {told}")
    return library


def fault(text: str) -> str:
    """What a program or an exception says went wrong, in one line: its first, and its first error."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ": ".join(lines[:1] + [line for line in lines[1:] if "error:" in line][:1])


def compile_fma_peak() -> Callable[[], float]:
    """A function that measures one core's fused multiply-adds, in GFLOP/s.

    RuntimeError where it cannot be compiled.
    """
    flags = ["-O3", "-march=native", "-ffp-contract=fast"]
    if platform.machine() in ("x86_64", "AMD64"):
        flags.append("-mprefer-vector-width=512")
    with tempfile.TemporaryDirectory() as folder:
        library = ctypes.CDLL(str(compile_library(str(HERE / "fma_peak.cpp"), flags, Path(folder))))
    library.fma_peak.restype = ctypes.c_double
    return lambda: float(library.fma_peak())


def preload_avx512_mkl(folder: Path) -> Path:
    """The library that makes MKL take its Intel path on any processor; RuntimeError as above."""
    source = folder / "intel_path.cpp"
    source.write_text('extern "C" int mkl_serv_intel_cpu_true(void) { return 1; }\n')
    return compile_library(str(source), ["-O2"], folder)


def extra_memory(p: int, implementation: str) -> float:
    """MB that an evaluation of all pairs adds to the peak of a fresh process."""
    program = f"""
import numpy as np
from grokking.kernels.compiled import load_extension
from grokking.model.tables import table_shapes
module, _ = load_extension()
p = {p}
tables = [np.full(shape, 0.01, np.float32) for shape in table_shapes(p, 4, 512, p).values()]
pairs = np.arange(p * p)
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if "VmHWM" in line)
before = peak()
module.evaluate(tables, pairs, pairs % p, {implementation!r}, 2)
print((peak() - before) / 1000)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=HERE.parent, capture_output=True, text=True, check=True
    )
    return round(float(done.stdout), 1)
