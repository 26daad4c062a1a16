"""`python -m grokking doctor`: one screen that says what is installed, what runs, and what to mend."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from grokking import __version__
from grokking.commands.cli import PACKAGES, Parser
from grokking.config import Config, load
from grokking.kernels import choice, compiled
from grokking.system.cores import available_cores
from grokking.system.errors import UserError

if TYPE_CHECKING:
    from grokking.kernels.backend import Backend

SECONDS = 2.0  # of the self-test


class Check(NamedTuple):
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
    config = load(os.environ, strict=False).config
    problems = 0
    for check in checks(config):
        print(f"{check.what:<16}{check.told}", flush=True)
        if check.remedy:
            problems += 1
            print(f"{'':<16}-> {check.remedy}", flush=True)
    print(f"\n{'all is well' if not problems else f'{problems} to mend, see the arrows'}")
    return 1 if problems else 0


def checks(config: Config) -> Iterator[Check]:
    """All of them, as they are found; what a missing package keeps from being checked is said."""
    for check in (installed, kernel, graphics, parity, speed):
        try:
            yield from check(config)
        except ImportError as error:
            yield Check(check.__name__, f"not checked: {error}")


def installed(_: Config) -> Iterator[Check]:
    """Versions of this program, of Python and of the packages it needs."""
    yield Check("grokking", f"{__version__}, Python {platform.python_version()}")
    installed_packages, missing = [], []
    for name in PACKAGES:
        try:
            installed_packages.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    yield Check("packages", ", ".join(installed_packages) or "none")
    if missing:
        yield Check("missing", ", ".join(missing), f"pip install {' '.join(missing)}")


def kernel(config: Config) -> Iterator[Check]:
    """Processor, the implementations it can run, and the one that GROK_KERNEL and GROK_THREADS take."""
    from grokking.system.environment import choose_threads, cpu_name

    cores = available_cores()
    yield Check("processor", f"{cpu_name()}, {cores} core{'s' if cores > 1 else ''} to use")
    try:
        chosen = choice.choose_on_cpu(config.kernel, choose_threads(config.threads))
    except UserError as error:
        yield Check("CPU kernel", str(error), "unset GROK_KERNEL, or set it to one of these")
        return
    if chosen.reason:
        remedy = (
            "install a C++ compiler and Python's headers (Debian, Ubuntu: g++ python3-dev), then: "
            "pip install -e ."
        )
        threads = f"{chosen.threads} thread{'s' if chosen.threads > 1 else ''}"
        module, _ = compiled.load_extension()
        yield Check("CPU kernel", f"{chosen}; {threads}", "" if module else remedy)
    else:
        others = ", ".join(name for name in compiled.implementations() if name != chosen.name)
        by_name = config.kernel == chosen.name
        why = "by GROK_KERNEL" if by_name else "the best of this processor's"
        yield Check("CPU kernel", f"{chosen}; {why} (others: {others or 'none'})")


def graphics(config: Config) -> Iterator[Check]:
    """Where runs go by GROK_DEVICE, and with what kernel on a GPU; having none is no problem."""
    import torch

    try:
        device = choice.choose_device(config.device)
    except UserError as error:
        yield Check("GPU", str(error), "unset GROK_DEVICE, or set it to cpu")
        return
    if device.type == "cpu":
        _, reason = compiled.cuda_devices()
        none = f"none that torch can use ({reason})"
        why = "as GROK_DEVICE=cpu asks" if config.device == "cpu" else none
        yield Check("GPU", f"runs go to the CPU: {why}")
        if config.kernel == choice.CUDA:
            yield Check("GPU kernel", "GROK_KERNEL=cuda, which needs a GPU", "unset GROK_KERNEL")
        return
    yield Check("GPU", f"{torch.cuda.get_device_name()}; runs go there by themselves")
    if config.kernel == choice.TORCH:
        return
    remedy = "docs/cuda.md says how it is built; GROK_DEVICE=cpu runs the CPU kernel"
    try:
        chosen = choice.choose_backend(config.kernel, torch.device("cuda"), 1)
    except UserError as error:
        yield Check("GPU kernel", str(error), remedy)
        return
    yield Check("GPU kernel", str(chosen), remedy if chosen.reason else "")


def parity(_: Config) -> Iterator[Check]:
    """Loss, gradients, logits and surfaces of every implementation against float64."""
    import torch

    from grokking.kernels.cpu import on_cpu
    from grokking.kernels.cuda import Cuda
    from grokking.kernels.parity import disagreement, first_use_fault

    for backend in on_cpu(min(2, available_cores())):
        wrong = disagreement(backend, torch.device("cpu"))
        remedy = f"use GROK_KERNEL=torch, and report this line ({backend.name})"
        yield _verdict(backend, wrong, remedy)
    if torch.cuda.is_available() and compiled.cuda_devices()[0]:
        wrong = first_use_fault(torch.device("cuda"))
        remedy = "plain PyTorch is used instead; ./scripts/check_gpu.sh reports it"
        yield _verdict(Cuda(), wrong, remedy)


def _verdict(backend: "Backend", wrong: str, remedy: str) -> Check:
    if wrong:
        return Check("parity", wrong, remedy)
    within = f"within the rounding of {backend.precision}"
    return Check("parity", f"{backend.name} computes what float64 does, {within}")


def speed(config: Config) -> Iterator[Check]:
    """Multiply-adds per second that the kernel reaches on one core, on the reference model."""
    try:
        chosen = choice.choose_on_cpu(config.kernel, 1)
    except UserError:
        return  # `kernel` has said so
    if chosen.reason:
        return
    evaluations, seconds, multiply_adds = self_test(chosen)
    rate = 2e-9 * evaluations * multiply_adds / seconds
    yield Check(
        "speed",
        f"{rate:.0f} GFLOP/s on one core (a multiply-add counts twice): all 12,769 pairs in "
        f"{1e3 * seconds / evaluations:.1f} ms",
    )


def self_test(chosen: "Backend") -> tuple[int, float, int]:
    """(evaluations of all pairs in about SECONDS, seconds, multiply-adds of each)."""
    import torch

    from grokking.kernels.backend import multiply_adds
    from grokking.model.transformer import Transformer, fold
    from grokking.task import make_task

    config = Config()
    p, H, d_mlp = config.modulus, config.num_heads, config.d_mlp
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        tables = fold(Transformer(p, config.d_model, H, d_mlp, generator))
    pairs, goal, count = torch.arange(p * p), torch.from_numpy(make_task("add", p).targets), 0
    began = time.perf_counter()
    while time.perf_counter() - began < SECONDS or count == 0:
        chosen.evaluate(tables, pairs, goal)
        count += 1
    return count, time.perf_counter() - began, multiply_adds(tables)
