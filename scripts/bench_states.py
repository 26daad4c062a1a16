"""Trained weights for the benchmark: random ones hide what a trained network leaves out.

The run of bench_peers.make_task, trained here by the kernel: its own weights, its own training pairs.
"""

from pathlib import Path

import torch

from grokking.config import Config
from grokking.kernels.backend import Backend
from grokking.system.environment import denormals_as_zero
from grokking.training.engine import choose_engine
from grokking.training.loop import advance
from grokking.training.state import Weights, new_state, weights_of

CPU = torch.device("cpu")
SEED = 1  # that of make_task
EPOCHS = tuple(range(0, 8193, 1024))
QUICK_EPOCHS = (0, 128, 256)


def train_states(backend: Backend, epochs: tuple[int, ...], file: Path) -> None:
    """Train, and write {"weights": {epoch: weights}, "train": pair numbers} to the file."""
    state = new_state(Config(seed=SEED), CPU)
    engine = choose_engine(state.task, state.split, CPU, backend)
    kept: dict[int, Weights] = {}
    torch.set_num_threads(backend.torch_threads)
    with denormals_as_zero():
        while True:
            if state.epoch in epochs:
                kept[state.epoch] = weights_of(state.model)
            if state.epoch == max(epochs):
                break
            advance(state, engine, engine.training_step(state.model, engine.train))
    torch.save({"weights": kept, "train": state.split.train}, file)
