"""The task: every ordered pair (a, b), its target (a + b) mod p, and the seeded split."""

from typing import NamedTuple

import torch
from torch import Tensor

from grokking.config import training_pairs


class Split(NamedTuple):
    """Pair numbers n = a * p + b of each part, ascending, so pairs with one `a` stand together."""

    train: Tensor  # int64 [floor(fraction * p * p)]
    validation: Tensor  # int64, the rest


def generators(seed: int) -> tuple[torch.Generator, torch.Generator]:
    """Independent generators for the weights and for the split, both fixed by `seed` (0 <= seed < 2**63)."""
    weights, split = torch.Generator(), torch.Generator()
    weights.manual_seed(2 * seed)
    split.manual_seed(2 * seed + 1)
    return weights, split


def all_pairs(modulus: int) -> tuple[Tensor, Tensor]:
    """Operands (a, b), each int64 [p * p]; pair number a * p + b."""
    numbers = torch.arange(modulus * modulus)
    return numbers // modulus, numbers % modulus


def targets(modulus: int) -> Tensor:
    """(a + b) mod p of every pair, int64 [p * p]."""
    a, b = all_pairs(modulus)
    return (a + b) % modulus


def split_pairs(modulus: int, fraction: float, generator: torch.Generator) -> Split:
    """Draw floor(fraction * p * p) training pairs without replacement; the rest validate."""
    order = torch.randperm(modulus * modulus, generator=generator)
    count = training_pairs(modulus, fraction)
    return Split(order[:count].sort().values, order[count:].sort().values)
