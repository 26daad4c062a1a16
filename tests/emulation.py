"""The CUDA kernels compiled by g++ and run on the CPU (tests/cuda), as functions of torch tensors."""

import subprocess
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from grokking.model import Tables

ROOT = Path(__file__).resolve().parent.parent
FLAGS = "-x c++ -std=c++17 -g -Wall -Wextra -Werror -Wno-unknown-pragmas -pthread".split()


class Answer(NamedTuple):
    """What one run of the emulator computed."""

    score: Tensor  # float64 [2]: sum of the losses, number correct
    logits: Tensor  # [n, c]
    class_sums: Tensor  # float64 [p, c], added to ones
    training_score: Tensor  # float64 [2]
    gradients: Tables
    surfaces: Tensor  # [p, p, neurons]


def build(program: Path, *flags: str, sources: Path = ROOT / "csrc") -> Path:
    """Compile tests/cuda/emulated.cpp with the kernels in `sources`; returns the program."""
    command = ["g++", *FLAGS, *flags, "-I", ROOT / "tests/cuda", "-I", sources]
    subprocess.run([*command, ROOT / "tests/cuda/emulated.cpp", "-o", program], check=True)
    return program


def emulate(
    program: Path, tables: Tables, pairs: Tensor, targets: Tensor, neurons: Tensor, scale: float
) -> Answer:
    """Every call of csrc/grid_cuda.h on float32 tables."""
    done = execute(program, tables, pairs, targets, neurons, scale)
    assert done.returncode == 0, done.stderr
    return parse(program.with_suffix(".answer").read_bytes(), tables, len(pairs), len(neurons))


def execute(
    program: Path, tables: Tables, pairs: Tensor, targets: Tensor, neurons: Tensor, scale: float
) -> "subprocess.CompletedProcess[str]":
    request = program.with_suffix(".request")
    sizes = [*tables.A.shape, tables.W_L.shape[1], len(pairs), len(neurons)]
    parts = [torch.tensor(sizes), torch.tensor([scale]), *tables, pairs, targets, neurons]
    request.write_bytes(b"".join(part.contiguous().numpy().tobytes() for part in parts))
    return subprocess.run(
        [program, request, program.with_suffix(".answer")], capture_output=True, text=True, timeout=300
    )


def parse(answer: bytes, tables: Tables, pairs: int, neurons: int) -> Answer:
    p, classes = len(tables.s0), tables.W_L.shape[1]
    rest = bytearray(answer)

    def take(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        count = torch.Size(shape).numel()
        if count == 0:
            return torch.empty(shape, dtype=dtype)
        value = torch.frombuffer(rest, dtype=dtype, count=count).clone().reshape(shape)
        rest[: count * dtype.itemsize] = b""
        return value

    f64 = torch.float64
    values = Answer(
        take(2, dtype=f64),
        take(pairs, classes),
        take(p, classes, dtype=f64),
        take(2, dtype=f64),
        Tables(*(take(*table.shape) for table in tables)),
        take(p, p, neurons),
    )
    assert not rest, f"{len(rest)} bytes too many"
    return values
