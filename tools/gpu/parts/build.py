"""Build the extension in place: with CUDA, or (argument `without-cuda`) what is left without it.

In place, not with pip: nothing outside this tree is changed, and a Python whose packages are
read-only or managed by somebody else will do.
"""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import build_cuda
from tools.gpu.parts.part import Missing, extension
from tools.gpu.record import ROOT, read_result, write_json

NEEDED = ("setuptools", "pybind11", "ninja")


def main(result: Path, cuda: str = "cuda") -> None:
    with_cuda = cuda == "cuda"
    if not with_cuda and read_result(result.with_name("build.json")):
        print("not needed: the build with CUDA holds the CPU's kernels too")
        return
    for package in NEEDED:
        importlib.import_module(package)
    if with_cuda:
        check_compiler()
    switches = {"GROK_BUILD_EXT": "1", "GROK_BUILD_CUDA": "1" if with_cuda else "0"}
    code, complaint = setup("build_ext", "--inplace", **switches)
    if code != 0:
        sys.exit(complaint or f"setup.py ended with exit code {code}")
    write_json(result, built())


def check_compiler() -> None:
    """Missing if there is no nvcc; SystemExit if there is one that cannot serve."""
    try:
        build_cuda.find_toolkit()
    except build_cuda.NoCompiler as error:
        raise Missing(str(error)) from error
    except build_cuda.NoToolkit as error:
        sys.exit(str(error))


def setup(*words: str, **switches: str) -> tuple[int, str]:
    """(exit code of setup.py, the first line of its output that speaks of an error)."""
    process = subprocess.Popen(
        [sys.executable, "setup.py", *words],
        cwd=ROOT,
        env={**os.environ, **switches},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    complaint = ""
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        if not complaint and re.search(r"error:|not found|No space|Read-only|denied", line):
            complaint = line.strip()
    return process.wait(), complaint


def built() -> dict[str, Any]:
    """What the extension says of itself."""
    module = extension()
    return {"implementations": module.implementations(), "cuda": hasattr(module, "cuda_devices")}
