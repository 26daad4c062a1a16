"""The task and its split."""

import pytest
import torch

from grokking import task
from grokking.config import Config


def test_targets_are_sums_modulo_p():
    a, b = task.all_pairs(5)
    assert (a[7].item(), b[7].item()) == (1, 2)
    assert task.targets(5).tolist() == [(i // 5 + i % 5) % 5 for i in range(25)]


def test_the_split_is_a_partition_with_the_floor_of_the_fraction():
    _, generator = task.generators(42)
    train, validation = task.split_pairs(113, 0.3, generator)
    assert (len(train), len(validation)) == (3830, 8939)
    assert torch.cat([train, validation]).sort().values.equal(torch.arange(113 * 113))
    assert train.equal(train.sort().values)
    assert validation.equal(validation.sort().values)


def test_each_seed_has_its_own_split_and_keeps_it():
    def draw(seed):
        return task.split_pairs(113, 0.3, task.generators(seed)[1]).train

    assert draw(1).equal(draw(1))
    assert not draw(1).equal(draw(2))


def test_weights_and_split_come_from_separate_streams():
    weights, split = task.generators(3)
    first = torch.randn(4, generator=weights)
    torch.randn(100, generator=split)
    again, _ = task.generators(3)
    assert first.equal(torch.randn(4, generator=again))
    assert not first.equal(torch.randn(4, generator=task.generators(3)[1]))


@pytest.mark.parametrize(("p", "fraction"), [(10, 0.29), (113, 0.3), (7, 1 / 49), (65, 1 / 4225)])
def test_as_many_pairs_are_drawn_as_the_configuration_was_checked_for(p, fraction):
    config = Config(modulus=p, train_fraction=fraction)
    split = task.split_pairs(p, fraction, torch.Generator().manual_seed(0))
    assert len(split.train) == config.training_pairs
