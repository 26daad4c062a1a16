"""The CUDA kernels compiled by g++ and run on the CPU (tests/cuda), as functions of torch tensors."""

import atexit
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import Tensor

from grokking.model.tables import Tables, table_shapes

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "cuda"
FLAGS = ["-std=c++17", "-g", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]


FLAVOURS = {  # flags of g++; the sanitizers stop at the first report
    "plain": ["-O2"],
    "address": ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "thread": ["-O1", "-fsanitize=thread"],
}


class Answer(NamedTuple):
    """What one run of the emulator computed."""

    score: Tensor  # float64 [2]: sum of the losses, number correct
    logits: Tensor  # [n, c]
    class_sums: Tensor  # float64 [c, c]
    training_score: Tensor  # the same two, as pair_loss has them
    training_class_sums: Tensor
    gradients: Tables
    surfaces: Tensor  # [p, p, neurons]


def build(
    program: Path, *flags: str, kernels: Path = ROOT / "csrc", source: Path = HERE / "emulated.cpp"
) -> Path:
    """Compile a source file with the kernels in the folder `kernels`; returns the program."""
    includes = ["-I", HERE, "-I", kernels]
    runtime = emulation_object("-fsanitize=thread" in flags)
    compile_with(*flags, *includes, "-x", "c++", source, "-x", "none", runtime, "-o", program)
    return program


def compile_module(path: Path, *includes: str) -> None:
    """Compile tests/cuda/emulated_module.cpp, an extension module."""
    paths = [f"-I{include}" for include in (*includes, HERE, ROOT / "csrc")]
    runtime = emulation_object(False)
    sources = ["-x", "c++", HERE / "emulated_module.cpp", "-x", "none", runtime]
    compile_with("-O1", "-fPIC", "-fvisibility=hidden", "-shared", *paths, *sources, "-o", path)


@cache
def emulation_object(knows_threads: bool) -> Path:
    """tests/cuda/emulation.cpp, compiled once. Not instrumented: it tells ThreadSanitizer the order."""
    folder = TemporaryDirectory(prefix="emulation")
    atexit.register(folder.cleanup)
    target = Path(folder.name) / "emulation.o"
    told = ["-DEMULATION_TSAN"] if knows_threads else []
    compile_with("-O2", "-fPIC", *told, "-I", HERE, "-c", HERE / "emulation.cpp", "-o", target)
    return target


def compile_with(*arguments: "str | Path") -> None:
    done = subprocess.run(["g++", *FLAGS, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Request(NamedTuple):
    """What the emulator computes: every call of csrc/grid_cuda.h."""

    tables: Tables  # float32
    pairs: Tensor  # int64 [n]
    targets: Tensor  # int64 [n]
    neurons: Tensor  # int64
    scale: float  # of the gradients

    def to_bytes(self) -> bytes:
        sizes = [*self.tables.A.shape, self.tables.W_L.shape[1], len(self.pairs), len(self.neurons)]
        parts = [torch.tensor(sizes), torch.tensor([self.scale])]
        parts += [*self.tables, self.pairs, self.targets, self.neurons]
        return b"".join(part.contiguous().numpy().tobytes() for part in parts)


def make_request(
    p: int, heads: int, d_mlp: int, pairs: int, neurons: int, classes: int = 0
) -> Request:
    """Random tables, pairs and targets, of p classes unless said; the last pair is among them."""
    generator, c = torch.Generator().manual_seed(p), classes or p
    shapes = table_shapes(p, heads, d_mlp, c).values()
    tables = Tables(*(torch.randn(*shape, generator=generator) for shape in shapes))
    tables.W_L.mul_(0.3)
    chosen = torch.randint(p * p, (pairs,), generator=generator)
    chosen[-1] = p * p - 1
    chosen = chosen.sort().values
    shuffled = torch.randperm(d_mlp, generator=generator)[:neurons]
    targets = torch.randint(c, (pairs,), generator=generator)
    return Request(tables, chosen, targets, shuffled, 1 / pairs)


def emulate(program: Path, request: Request, seed: int = 0) -> Answer:
    """The program's answer; `seed` decides the order in which CUDA threads run."""
    done, answer = execute(program, request, seed)
    assert done.returncode == 0, done.stderr
    return parse(answer.read_bytes(), request)


def execute(
    program: Path, request: Request, seed: int = 0
) -> tuple["subprocess.CompletedProcess[str]", Path]:
    """(the finished process, the file of its answer)."""
    asked, answer = program.with_suffix(".request"), program.with_suffix(".answer")
    asked.write_bytes(request.to_bytes())
    answer.unlink(missing_ok=True)
    command = [program, asked, answer, str(seed)]
    return subprocess.run(command, capture_output=True, text=True), answer


def parse(answer: bytes, request: Request) -> Answer:
    p, classes = len(request.tables.s0), request.tables.W_L.shape[1]
    taken = 0

    def take(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        nonlocal taken
        size = torch.Size(shape).numel() * dtype.itemsize
        part, taken = bytearray(answer[taken : taken + size]), taken + size
        return torch.frombuffer(part, dtype=dtype).reshape(shape) if size else torch.empty(shape)

    values = Answer(
        score=take(2, dtype=torch.float64),
        logits=take(len(request.pairs), classes),
        class_sums=take(classes, classes, dtype=torch.float64),
        training_score=take(2, dtype=torch.float64),
        training_class_sums=take(classes, classes, dtype=torch.float64),
        gradients=Tables(*(take(*table.shape) for table in request.tables)),
        surfaces=take(p, p, len(request.neurons)),
    )
    assert taken == len(answer)
    return values
