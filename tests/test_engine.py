"""The plain engine against the textbook."""

import pytest
import torch

from grokking.data import all_pairs, generators, split_pairs, targets
from grokking.engine import PlainEngine
from grokking.model import Transformer


@pytest.fixture
def setting():
    for_weights, for_split = generators(5)
    model = Transformer(13, 16, 2, 24, for_weights)
    split = split_pairs(13, 0.4, for_split)
    return model, split, PlainEngine(13, split, torch.device("cpu"), "")


def textbook_logits(model):
    a, b = all_pairs(13)
    return model(torch.stack([a, b, torch.full_like(a, 13)], 1))[:, 2].detach()


def test_scores_are_means_over_each_part_of_the_split(setting):
    model, split, engine = setting
    logits, goal = textbook_logits(model).double(), targets(13)
    for score, pairs in (
        (engine.training_step(model).score, split.train),
        (engine.validate(model), split.validation),
    ):
        expected = torch.nn.functional.cross_entropy(logits[pairs], goal[pairs])
        assert score.loss == pytest.approx(expected.item(), rel=1e-5)
        assert score.accuracy == (logits[pairs].argmax(1) == goal[pairs]).double().mean().item()


def test_the_loss_is_differentiable_for_every_parameter(setting):
    model, _, engine = setting
    engine.training_step(model).loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_surfaces_are_indexed_by_first_then_second_operand(setting):
    model, _, engine = setting
    surfaces = engine.surfaces(model, [3, 20])
    assert surfaces.shape == (13, 13, 2)
    _, post = model.mlp_post_at_equals(torch.tensor([4]), torch.tensor([9]))
    torch.testing.assert_close(surfaces[4, 9], post[0, [3, 20]].detach())
