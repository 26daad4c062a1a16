"""What scripts/check_gpu.sh asks of the CUDA kernel on a real GPU.

    python scripts/check_gpu.py use      first use on every GPU, held to plain PyTorch; for sanitizers
    python scripts/check_gpu.py time     medians of CUDA events against plain PyTorch; last line JSON

Exit code 1 where there is no GPU, or where the kernel computes something else.
"""

import json
import statistics
import sys
from collections.abc import Callable

import torch

from grokking import ops
from grokking.data import generators, split_pairs, targets
from grokking.engine import FoldedEngine, PlainEngine
from grokking.extension import CUDA, Kernel, cuda_devices
from grokking.first_use import first_use_fault
from grokking.folding import Tables
from grokking.model import Transformer, fold

MODULUS = 113
ROUNDS, WARM_UP = 50, 5
Job = Callable[[], object]


def devices() -> list[torch.device]:
    """Every GPU, or SystemExit with the reason."""
    count, reason = cuda_devices()
    if count == 0:
        sys.exit(f"the CUDA kernel cannot run here: {reason}")
    if not torch.cuda.is_available():
        sys.exit(f"torch {torch.__version__} sees no GPU; install a CUDA build of torch")
    return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]


def use() -> None:
    for device in devices():
        fault = first_use_fault(device)
        print(
            f"{device} ({torch.cuda.get_device_name(device)}): {fault or 'agrees with plain PyTorch'}"
        )
        if fault:
            sys.exit(1)


def jobs(device: torch.device) -> dict[str, dict[str, Job]]:
    """What is timed, by name, in each way to compute it: the experiment's model, p = 113."""
    for_weights, for_split = generators(0)
    model = Transformer(MODULUS, 128, 4, 512, for_weights).to(device)
    split = split_pairs(MODULUS, 0.3, for_split)
    tables = Tables(*(table.detach().requires_grad_() for table in fold(model)))
    every, goal = torch.arange(MODULUS**2, device=device), targets(MODULUS).to(device)
    train = split.train.to(device)
    neurons = torch.arange(512, device=device)

    def gradients(kernel: Kernel) -> object:
        return torch.autograd.grad(ops.pair_loss(tables, train, goal[train], kernel).mean, tables)

    def epoch(engine: FoldedEngine | PlainEngine) -> object:
        loss = engine.training_step(model).loss
        return torch.autograd.grad(loss, list(model.parameters())), engine.validate(model)

    ours, plain = Kernel(CUDA, 1), Kernel(None, 1)
    engines = FoldedEngine(MODULUS, split, ours, device), PlainEngine(MODULUS, split, device)
    ways = {"kernel": ours, "folded, plain PyTorch": plain}
    return {
        "evaluate 12769 pairs": {
            n: lambda k=k: ops.evaluate(tables, every, goal, k) for n, k in ways.items()
        },
        "loss and gradients of 3830 pairs": {n: lambda k=k: gradients(k) for n, k in ways.items()},
        "512 surfaces": {
            n: lambda k=k: ops.activations(tables, neurons, k) for n, k in ways.items()
        },
        "epoch without the optimiser": {
            "kernel": lambda: epoch(engines[0]),
            "last position, plain PyTorch": lambda: epoch(engines[1]),
        },
    }


def milliseconds(job: Job) -> float:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    job()
    end.record()
    end.synchronize()
    return start.elapsed_time(end)


def measure(ways: dict[str, Job]) -> dict[str, float]:
    """Median milliseconds of each way; the ways take turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(WARM_UP + ROUNDS):
        for name, job in ways.items():
            elapsed = milliseconds(job)
            if round_number >= WARM_UP:
                times[name].append(elapsed)
    return {name: statistics.median(values) for name, values in times.items()}


def time() -> None:
    device = devices()[0]
    use()
    with torch.cuda.device(device):
        medians = {what: measure(ways) for what, ways in jobs(device).items()}
    for what, ways in medians.items():
        for name, median in ways.items():
            print(f"{what:36} {name:30} {median:8.3f} ms")
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda}
    name = torch.cuda.get_device_name(device)
    print(json.dumps({"gpu": name, **versions, "rounds": ROUNDS, "median_ms": medians}))


if __name__ == "__main__":
    modes = {"use": use, "time": time}
    if len(sys.argv) != 2 or sys.argv[1] not in modes:
        sys.exit(str(__doc__).strip())
    modes[sys.argv[1]]()
