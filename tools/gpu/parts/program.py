"""Compile tools/gpu/program/kernels.cu, the kernels without Python, for this machine's GPU alone."""

import os
import subprocess
import sys
from pathlib import Path

import build_cuda
from tools.gpu.parts.build import check_compiler
from tools.gpu.parts.part import Missing
from tools.gpu.record import ROOT, write_json

SOURCE = ROOT / "tools" / "gpu" / "program" / "kernels.cu"


def main(result: Path) -> None:
    check_compiler()
    compile_program(result.with_name("kernels"))
    write_json(result, {"bytes": result.with_name("kernels").stat().st_size})


def compile_program(program: Path, *flags: str) -> None:
    """SystemExit if nvcc refuses; its complaint stands above."""
    toolkit = build_cuda.find_toolkit()
    host = ["-ccbin", os.environ["CXX"].split()[0]] if os.environ.get("CXX") else []
    command = [str(toolkit.nvcc), *build_cuda.FLAGS, *host, "-arch=native", *flags]
    command += [f"-I{ROOT / 'csrc'}", f"-L{toolkit.libraries}", str(SOURCE), "-o", str(program)]
    if subprocess.run(command).returncode != 0:
        sys.exit(f"{toolkit.nvcc} could not compile {SOURCE.name}")


def compiled(result: Path) -> Path:
    """The program beside a part's result, or Missing."""
    program = result.with_name("kernels")
    if not os.access(program, os.X_OK):
        raise Missing("the program of tools/gpu/program/kernels.cu was not compiled")
    return program
