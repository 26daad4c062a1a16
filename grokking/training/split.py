"""The seeded split of a task's questions, and the generators of a run."""

from hashlib import blake2b
from typing import NamedTuple

import torch
from torch import Tensor

from grokking.task import Task


class Split(NamedTuple):
    """Pair numbers n = a * p + b of each part, ascending, so pairs with one `a` stand together."""

    train: Tensor  # int64 [floor(fraction * questions)]
    validation: Tensor  # int64, the rest


def weights_generator(seed: int) -> torch.Generator:
    """What draws the initial weights, 0 <= seed < 2**63; independent of the split's."""
    return torch.Generator().manual_seed(2 * seed)


def split_generator(seed: int) -> torch.Generator:
    """What draws the split."""
    return torch.Generator().manual_seed(2 * seed + 1)


def split_questions(task: Task, count: int, generator: torch.Generator) -> Split:
    """Draw `count` training pairs of the questions without replacement; the rest validate."""
    questions = torch.from_numpy(task.questions)
    order = torch.randperm(len(questions), generator=generator)
    train, validation = order[:count].sort().values, order[count:].sort().values
    return Split(questions[train], questions[validation])


def split_after(task: Task, train: Tensor) -> Split:
    """The split with these training pairs."""
    questions = torch.from_numpy(task.questions)
    return Split(train, questions[~torch.isin(questions, train)])


def batches(train: Tensor, size: int | None, seed: int, epoch: int) -> list[Tensor]:
    """The training pairs in the batches of one epoch: a permutation of (seed, epoch), the last short.

    In each batch ascending; all of them, as they are, without a size.
    """
    if size is None or size >= len(train):
        return [train]
    drawn_from = blake2b(f"{seed} {epoch}".encode(), digest_size=7).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(drawn_from))
    order = torch.randperm(len(train), generator=generator).to(train.device)
    return [train[part].sort().values for part in torch.split(order, size)]
