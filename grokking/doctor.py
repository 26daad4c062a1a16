"""`python -m grokking doctor`: one screen that says what is installed, what runs, and what to mend."""

import importlib.metadata
import platform
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from grokking import __version__
from grokking.cli import PACKAGES, Parser
from grokking.cores import available_cores
from grokking.extension import Kernel, choose_kernel, cuda_devices, implementations, load

SECONDS = 2.0  # of the self-test


class Finding(NamedTuple):
    """A line of the screen, and what to do about it if it is a problem."""

    what: str
    told: str
    remedy: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the screen; exit code 1 if something needs mending."""
    parser = Parser(
        prog="grokking doctor",
        description="Say what is installed, which kernel runs and why, whether it computes what plain "
        "PyTorch computes on this machine, and what to do about each problem found.",
        epilog="exit codes: 0 all is well; 1 something needs mending",
    )
    parser.parse_args(arguments)
    problems = 0
    for finding in findings():
        print(f"{finding.what:<16}{finding.told}", flush=True)
        if finding.remedy:
            problems += 1
            print(f"{'':<16}-> {finding.remedy}", flush=True)
    print(f"\n{'all is well' if not problems else f'{problems} to mend, see the arrows'}")
    return 1 if problems else 0


def findings() -> Iterator[Finding]:
    """All of them, as they are found; what a missing package keeps from being checked is said."""
    for check in (installed, kernel, graphics, parity, speed):
        try:
            yield from check()
        except ImportError as error:
            yield Finding(check.__name__, f"not checked: {error}")


def installed() -> Iterator[Finding]:
    """Versions of this program, of Python and of the packages it needs."""
    yield Finding("grokking", f"{__version__}, Python {platform.python_version()}")
    found, missing = [], []
    for name in PACKAGES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    yield Finding("packages", ", ".join(found) or "none")
    if missing:
        yield Finding("missing", ", ".join(missing), f"pip install {' '.join(missing)}")


def kernel() -> Iterator[Finding]:
    """Processor, the implementations it can run, and the one that runs on it would use."""
    from grokking.environment import cpu_name

    cores = available_cores()
    yield Finding("processor", f"{cpu_name()}, {cores} core{'s' if cores > 1 else ''} to use")
    _, reason = load()
    chosen = choose_kernel("auto", cores)
    if chosen.name is None:
        remedy = (
            "install a C++ compiler and Python's headers (Debian, Ubuntu: g++ python3-dev), then: "
            "pip install -e ."
        )
        yield Finding("CPU kernel", str(chosen), remedy if reason else "")
    else:
        others = ", ".join(name for name in implementations() if name != chosen.name)
        yield Finding("CPU kernel", f"{chosen}; the best of this processor's (others: {others})")


def graphics() -> Iterator[Finding]:
    """Where runs go by themselves, and with what kernel on a GPU; having none is no problem."""
    import torch

    from grokking.first_use import kernel_on_gpu

    if not torch.cuda.is_available():
        _, reason = cuda_devices()
        yield Finding("GPU", f"none that torch can use; runs go to the CPU ({reason})")
        return
    yield Finding("GPU", f"{torch.cuda.get_device_name()}; runs go there by themselves")
    chosen = kernel_on_gpu("auto", torch.device("cuda"), 1, cuda_devices)
    remedy = "docs/cuda.md says how it is built; GROK_DEVICE=cpu runs the CPU kernel"
    yield Finding("GPU kernel", str(chosen), remedy if chosen.name is None else "")


def parity() -> Iterator[Finding]:
    """Loss, gradients, logits and surfaces of every implementation against float64."""
    import torch

    from grokking.first_use import disagreement, first_use_fault

    names = implementations()
    for name in names:
        wrong = disagreement(Kernel(name, min(2, available_cores())), torch.device("cpu"))
        yield _verdict(name, wrong, f"use GROK_KERNEL=torch, and report this line ({name})")
    if torch.cuda.is_available() and cuda_devices()[0]:
        wrong = first_use_fault(torch.device("cuda"))
        yield _verdict(
            "cuda", wrong, "plain PyTorch is used instead; ./scripts/check_gpu.sh reports it"
        )


def _verdict(name: str, wrong: str, remedy: str) -> Finding:
    if wrong:
        return Finding("parity", wrong, remedy)
    return Finding("parity", f"{name} computes what float64 does, within the rounding of float32")


def speed() -> Iterator[Finding]:
    """Multiply-adds per second that the kernel reaches on one core, on the reference model."""
    chosen = choose_kernel("auto", 1)
    if chosen.name is None:
        return
    evaluations, seconds, multiply_adds = self_test(chosen)
    rate = 2e-9 * evaluations * multiply_adds / seconds
    yield Finding(
        "speed",
        f"{rate:.0f} GFLOP/s on one core (a multiply-add counts twice): all 12,769 pairs in "
        f"{1e3 * seconds / evaluations:.1f} ms",
    )


def self_test(chosen: Kernel) -> tuple[int, float, int]:
    """(evaluations of all pairs in about SECONDS, seconds, multiply-adds of each)."""
    import torch

    from grokking import ops
    from grokking.config import Config
    from grokking.data import targets
    from grokking.model import Transformer, fold

    config = Config()
    p, H, d_mlp = config.modulus, config.num_heads, config.d_mlp
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        tables = fold(Transformer(p, config.d_model, H, d_mlp, generator))
    pairs, goal, count = torch.arange(p * p), targets(p), 0
    began = time.perf_counter()
    while time.perf_counter() - began < SECONDS or count == 0:
        ops.evaluate(tables, pairs, goal, chosen)
        count += 1
    return count, time.perf_counter() - began, ops.multiply_adds(tables)
