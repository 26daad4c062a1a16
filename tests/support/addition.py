"""Addition modulo p as tensors, and splits of it."""

import torch
from torch import Tensor

from grokking.config import training_pairs
from grokking.task import Task, make_task
from grokking.training.split import Split, split_generator, split_questions, weights_generator


def addition(p: int) -> Task:
    return make_task("add", p)


def generators(seed: int) -> tuple[torch.Generator, torch.Generator]:
    """Of the weights and of the split."""
    return weights_generator(seed), split_generator(seed)


def all_pairs(p: int) -> tuple[Tensor, Tensor]:
    """Operands (a, b), each int64 [p * p]."""
    numbers = torch.arange(p * p)
    return numbers // p, numbers % p


def targets(p: int) -> Tensor:
    """(a + b) mod p of every pair, int64 [p * p]."""
    a, b = all_pairs(p)
    return (a + b) % p


def split_pairs(p: int, fraction: float, generator: torch.Generator) -> Split:
    return split_questions(addition(p), training_pairs(p * p, fraction), generator)
