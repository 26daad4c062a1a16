"""Both engines against the textbook."""

import pytest
import torch

from grokking.kernels.choice import choose_on_cpu
from grokking.kernels.compiled import implementations
from grokking.model.transformer import Transformer
from grokking.training.engine import FoldedEngine, PlainEngine
from tests.support.addition import addition, all_pairs, generators, split_pairs, targets


@pytest.fixture(
    params=["plain", "folded", "plain in chunks", "folded in chunks", *implementations()]
)
def setting(request, monkeypatch):
    """A model with biases, a split, and each way to compute (folded: the tables in plain PyTorch).

    Chunks of 50 cut the 169 pairs, and the 102 of validation, into several and a shorter last one.
    """
    for_weights, for_split = generators(5)
    model = Transformer(13, 16, 2, 24, for_weights)
    split = split_pairs(13, 0.4, for_split)
    if request.param.endswith("in chunks"):
        monkeypatch.setattr("grokking.training.engine.PAIRS_AT_ONCE", 50)
        monkeypatch.setattr("grokking.kernels.reference.PAIRS_AT_ONCE", 50)
    if request.param.startswith("plain"):
        return model, split, PlainEngine(addition(13), split, torch.device("cpu"))
    name = "torch" if request.param.startswith("folded") else request.param
    return model, split, FoldedEngine(addition(13), split, choose_on_cpu(name, 2))


def textbook_logits(model):
    a, b = all_pairs(13)
    return model(torch.stack([a, b, torch.full_like(a, 13)], 1))[:, 2].detach()


def test_scores_are_means_over_each_part_of_the_split(setting):
    model, split, engine = setting
    logits, goal = textbook_logits(model).double(), targets(13)
    for score, pairs in (
        (engine.training_step(model, engine.train).score, split.train),
        (engine.evaluate(model, engine.validation), split.validation),
    ):
        expected = torch.nn.functional.cross_entropy(logits[pairs], goal[pairs])
        assert score.loss == pytest.approx(expected.item(), rel=1e-5)
        assert score.accuracy == (logits[pairs].argmax(1) == goal[pairs]).double().mean().item()


def test_both_parts_of_the_split_add_up_to_the_sums_of_each_class(setting):
    model, _, engine = setting
    parts = (
        engine.training_step(model, engine.train, True).score,
        engine.evaluate(model, engine.validation, True),
    )
    sums = sum(part.class_sums for part in parts)
    expected = torch.zeros(13, 13, dtype=torch.float64)
    for number, row in enumerate(textbook_logits(model).double()):
        expected[(number // 13 + number % 13) % 13] += row
    torch.testing.assert_close(sums, expected, rtol=1e-5, atol=1e-4)


def test_the_loss_is_differentiable_for_every_parameter(setting):
    model, split, engine = setting
    engine.training_step(model, engine.train).loss.backward()
    a, b = all_pairs(13)
    goal = targets(13)[split.train]
    logits = model.double().logits_at_equals(a[split.train], b[split.train])
    expected = torch.autograd.grad(
        torch.nn.functional.cross_entropy(logits, goal), list(model.parameters())
    )
    for p, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, gradient, rtol=1e-4, atol=1e-6)


def test_surfaces_are_indexed_by_first_then_second_operand(setting):
    model, _, engine = setting
    surfaces = engine.surfaces(model, [3, 20])
    assert surfaces.shape == (13, 13, 2)
    _, post = model.mlp_post_at_equals(torch.tensor([4]), torch.tensor([9]))
    torch.testing.assert_close(surfaces[4, 9], post[0, [3, 20]].detach())


def test_the_validation_score_is_that_of_the_model_that_is_given(setting):
    """Not of the one that was stepped last, and not of its weights before they were changed."""
    model, split, engine = setting
    engine.training_step(model, engine.train, class_sums=True)
    before = engine.evaluate(model, engine.validation, class_sums=True).loss
    other = Transformer(13, 16, 2, 24, generators(6)[0])
    logits, goal = textbook_logits(other).double(), targets(13)
    expected = torch.nn.functional.cross_entropy(logits[split.validation], goal[split.validation])
    assert engine.evaluate(other, engine.validation).loss == pytest.approx(
        expected.item(), rel=1e-5
    )
    assert engine.evaluate(model, engine.validation).loss == before
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    engine.training_step(model, engine.train, class_sums=True).loss.backward()
    optimizer.step()
    assert engine.evaluate(model, engine.validation).loss != before
