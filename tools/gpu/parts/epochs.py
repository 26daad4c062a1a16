"""CUDA events around a whole epoch: the kernel against plain PyTorch in every way people run it.

Argument `eager`: the kernel, plain PyTorch eager, and that under a CUDA graph; and a large matrix
product. Argument `compiled`: the kernel again, and torch.compile, alone and under a CUDA graph. An
epoch is a training step (30 % of the pairs: forward, backward, fused AdamW) and the score of the
other pairs. All start from the same weights and must compute the same losses.
"""

import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from grokking.config import training_pairs
from grokking.kernels.backend import Backend
from grokking.kernels.cuda import Cuda
from grokking.model.transformer import Transformer, fold
from grokking.task import make_task
from grokking.training.split import Split, split_generator, split_questions, weights_generator
from tools.gpu.parts.part import gpus
from tools.gpu.record import write_json

ROUNDS, WARM_UP, CHECKED = 30, 3, 4  # epochs that are timed, before those, and compared before both
PRODUCT = 8192  # rows and columns of the large matrices
Epoch = Callable[[], Tensor]  # trains one epoch; the training loss before its step
Clock = Callable[[Callable[[], object]], float]  # milliseconds that a job takes on the device


class Experiment(NamedTuple):
    """The reference experiment on one device; sizes can be smaller for a rehearsal."""

    device: torch.device
    backend: Backend = Cuda()
    modulus: int = 113
    d_model: int = 128
    num_heads: int = 4
    d_mlp: int = 512

    def model(self) -> Transformer:
        sizes = (self.modulus, self.d_model, self.num_heads, self.d_mlp)
        return Transformer(*sizes, weights_generator(0)).to(self.device)

    def split(self) -> Split:
        task, count = make_task("add", self.modulus), training_pairs(self.modulus**2, 0.3)
        return split_questions(task, count, split_generator(0))

    def targets(self) -> Tensor:
        """The answer of every pair, on the device."""
        return torch.from_numpy(make_task("add", self.modulus).targets).to(self.device)


def main(result: Path, which: str) -> None:
    experiment = Experiment(gpus()[0])
    with torch.cuda.device(experiment.device):
        ways = eager(experiment) if which == "eager" else compiled(experiment)
        check_parity(ways)
        medians = measure(ways, on_device)
        found: dict[str, object] = {"rounds": ROUNDS, "milliseconds": medians}
        write_json(result, found)
        if which == "eager":
            write_json(result, found | {"matrix_product_tflops": product_rate(experiment.device)})
    for name, median in medians.items():
        print(f"{name:40} {median:8.3f} ms an epoch")


def eager(experiment: Experiment) -> dict[str, Epoch]:
    plain = plain_epoch(experiment, compiled=False)
    under_graph = captured(plain_epoch(experiment, compiled=False))
    return {"kernel": ours(experiment), "eager": plain.epoch, "eager, CUDA graph": under_graph}


def compiled(experiment: Experiment) -> dict[str, Epoch]:
    plain = plain_epoch(experiment, compiled=True)
    under_graph = captured(plain_epoch(experiment, compiled=True))
    return {
        "kernel": ours(experiment),
        "compiled": plain.epoch,
        "compiled, CUDA graph": under_graph,
    }


def adamw(model: Transformer) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        model.parameters(),
        lr=1e-3,
        betas=(0.9, 0.98),
        weight_decay=1.0,
        fused=True,
        capturable=next(model.parameters()).is_cuda,
    )


def ours(experiment: Experiment) -> Epoch:
    """Fold, the kernel on the training and on the other pairs, backward, AdamW."""
    model, backend = experiment.model(), experiment.backend
    optimizer = adamw(model)
    goal = experiment.targets()
    train, rest = (
        (pairs, goal[pairs])
        for pairs in (part.to(experiment.device) for part in experiment.split())
    )

    def epoch() -> Tensor:
        tables = fold(model)
        loss, _ = backend.pair_loss(tables, *train)
        backend.evaluate(tables, *rest)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return epoch


class Plain(NamedTuple):
    """An epoch of plain PyTorch that never waits for the device, and what it changes."""

    epoch: Epoch
    model: Transformer
    optimizer: torch.optim.AdamW


def plain_epoch(experiment: Experiment, compiled: bool) -> Plain:
    """The last-position forward, which is all that the read-out at `=` needs."""
    model = experiment.model()
    optimizer = adamw(model)
    logits = model.logits_at_equals
    if compiled:
        logits = torch.compile(logits, dynamic=False)
    pairs = torch.arange(experiment.modulus**2, device=experiment.device)
    operands = pairs // experiment.modulus, pairs % experiment.modulus
    goal = experiment.targets()
    train, rest = (
        (*(operand[pairs] for operand in operands), goal[pairs])
        for pairs in (part.to(experiment.device) for part in experiment.split())
    )

    def epoch() -> Tensor:
        loss = cross_entropy(logits(*train[:2]), train[2])
        with torch.no_grad():
            validation = logits(*rest[:2])
            cross_entropy(validation, rest[2])
            (validation.argmax(1) == rest[2]).sum()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    return Plain(epoch, model, optimizer)


@dataclass(frozen=True)
class Captured:
    """An epoch as a CUDA graph, with all whose addresses it holds: freed, others would get them."""

    graph: torch.cuda.CUDAGraph
    loss: Tensor
    recorded: Plain

    def __call__(self) -> Tensor:
        self.graph.replay()
        return self.loss


def captured(plain: Plain) -> Epoch:
    """The same epoch, recorded once as a CUDA graph and then replayed.

    Capturing needs a few epochs first (https://docs.pytorch.org/docs/stable/notes/cuda.html, "Whole
    network capture"); afterwards weights and moments are put back to where they began.
    """
    weights = [p.detach().clone() for p in plain.model.parameters()]
    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP):
            plain.epoch()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    plain.optimizer.zero_grad()
    with torch.cuda.graph(graph):
        loss = plain.epoch()
    with torch.no_grad():
        for parameter, weight in zip(plain.model.parameters(), weights, strict=True):
            parameter.copy_(weight)
            for moment in plain.optimizer.state[parameter].values():
                moment.zero_()
    return Captured(graph, loss, plain)


def check_parity(ways: dict[str, Epoch]) -> None:
    """SystemExit unless all compute the same training losses, epoch by epoch."""
    losses = {name: [float(epoch()) for _ in range(CHECKED)] for name, epoch in ways.items()}
    expected = next(iter(losses.values()))
    for name, found in losses.items():
        if not all(abs(f - e) < 1e-3 * abs(e) for f, e in zip(found, expected, strict=True)):
            sys.exit(f"{name} computes the losses {found}, {next(iter(losses))} {expected}")


def measure(ways: dict[str, Epoch], clock: Clock) -> dict[str, float]:
    """Median milliseconds of each way; the ways take turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_number in range(WARM_UP + ROUNDS):
        for name, epoch in ways.items():
            elapsed = clock(epoch)
            if round_number >= WARM_UP:
                times[name].append(elapsed)
    return {name: statistics.median(values) for name, values in times.items()}


def on_device(job: Callable[[], object]) -> float:
    """Milliseconds between two CUDA events around a job."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    job()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end))


def product_rate(device: torch.device) -> float:
    """TFLOP/s of a large matrix product in float32, which no kernel of ours will exceed."""
    a, b = torch.randn(2, PRODUCT, PRODUCT, device=device)
    times = [on_device(lambda: a @ b) for _ in range(WARM_UP + 3)][WARM_UP:]
    return 2e-9 * PRODUCT**3 / statistics.median(times)
