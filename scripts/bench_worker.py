"""One build's part of bench_builds.py: times pieces of an epoch on trained weights, on request.

    python -P scripts/bench_worker.py STATES KERNEL THREADS     # PYTHONPATH names the build

Reads a line "JOB EPOCH REPEATS" at a time and prints the seconds of every repeat as JSON. Of the package
it calls what older builds have, too; `phases` asks for more.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from grokking.config import Config
from grokking.kernels.choice import choose_on_cpu
from grokking.system.environment import denormals_as_zero
from grokking.training.engine import choose_engine
from grokking.training.loop import advance, probe
from grokking.training.recorder import Recorder
from grokking.training.state import new_state

CPU = torch.device("cpu")


class Trained:
    """A trained network in the middle of its run, whose learning rate is 0: every step is the same."""

    def __init__(self, weights: dict[str, torch.Tensor], train: torch.Tensor, backend: Any) -> None:
        config = Config(learning_rate=0.0, warmup_steps=0, trajectory=False)
        self.backend, self.state = backend, new_state(config, CPU)
        self.state.model.load_state_dict(weights)
        pairs = torch.arange(config.modulus**2)
        split = type(self.state.split)  # which lies elsewhere in older builds
        self.state.split = split(train, pairs[~torch.isin(pairs, train)])
        task = getattr(self.state, "task", config.modulus)
        self.engine = choose_engine(task, self.state.split, CPU, backend)
        self.folder = tempfile.TemporaryDirectory()
        self.recorder = Recorder(self.state, Path(self.folder.name))
        self.neurons = list(range(config.d_mlp))

    def step(self) -> None:
        """A training epoch: forward, backward, AdamW."""
        self.advance(self.begun())

    def probed(self) -> None:
        """An epoch with its probe of all pairs and what it measures and notes."""
        step = self.begun(class_sums=True)
        self.recorder.measure(step.score, probe(self.state, self.engine, step.score))
        self.recorder.save_labels()
        self.advance(step)

    def begun(self, class_sums: bool = False) -> Any:
        """The forward half of a step; builds from before there were tasks name no pairs."""
        pairs = (self.engine.train,) if hasattr(self.state, "task") else ()
        return self.engine.training_step(self.state.model, *pairs, class_sums=class_sums)

    def advance(self, step: Any) -> None:
        """The other half."""
        engine = (self.engine,) if hasattr(self.state, "task") else ()
        advance(self.state, *engine, step)

    def surfaces(self) -> None:
        self.engine.surfaces(self.state.model, self.neurons)

    def phases(self) -> dict[str, float]:
        """Seconds of each part of a probed epoch; the kernel's own parts are also called alone."""
        from grokking.model.transformer import parameters_of

        seconds: dict[str, float] = {}

        def timed(name: str, call: Callable[[], Any]) -> Any:
            began = time.perf_counter()
            result = call()
            seconds[name] = time.perf_counter() - began
            return result

        model, engine = self.state.model, self.engine
        weights = parameters_of(model)
        tables = timed("folding", lambda: self.backend.fold(weights))
        train = engine.train, engine.targets[engine.train]
        timed(
            "loss and gradient of the tables",
            lambda: self.backend.pair_loss(tables, *train, class_sums=True),
        )
        step = timed("the step's call", lambda: self.begun(class_sums=True))
        validation = timed("validation", lambda: probe(self.state, engine, step.score))
        timed("measures", lambda: self.recorder.measure(step.score, validation))
        timed("labels", self.recorder.save_labels)
        timed("backward", step.loss.backward)
        timed("AdamW", lambda: self.state.optimizer.step(0.0))
        self.state.epoch += 1
        return seconds


def seconds_of(call: Callable[[], Any], repeats: int) -> list[Any]:
    """Of every repeat after the first, which brings the caches back; what the call measured itself."""
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        measured = call()
        times.append(measured or time.perf_counter() - began)
    return times[1:]


def main(states: str, kernel: str, threads: str) -> None:
    backend = choose_on_cpu(kernel, int(threads))
    torch.set_num_threads(backend.torch_threads)
    recorded = torch.load(states)
    trained = {
        epoch: Trained(weights, recorded["train"], backend)
        for epoch, weights in recorded["weights"].items()
    }
    with denormals_as_zero():
        for line in sys.stdin:
            job, epoch, repeats = line.split()
            call = getattr(trained[int(epoch)], job)
            print(json.dumps(seconds_of(call, int(repeats))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
