"""The folded model against the textbook: exact in float64, in values and in gradients."""

import pytest
import torch

from grokking.kernels.reference import Reference, forward
from grokking.model.fold import fold_parameters
from grokking.model.loss import cross_entropy
from grokking.model.transformer import Transformer, fold, parameters_for_surfaces
from tests.support.addition import all_pairs, generators, targets

PLAIN = Reference()


def model_with_biases(modulus, d_model, num_heads, d_mlp, scale=1.0):
    """A float64 model; biases start at zero, where a forgotten one would not show."""
    weights, noise = generators(3)
    model = Transformer(modulus, d_model, num_heads, d_mlp, weights).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=noise)
            parameter *= scale
    return model


def textbook_logits(model):
    a, b = all_pairs(model.modulus)
    return model(torch.stack([a, b, torch.full_like(a, model.modulus)], 1))[:, 2]


def every_pair(modulus):
    return torch.arange(modulus * modulus)


SHAPES = [(2, 4, 1, 1), (3, 6, 2, 5), (5, 12, 3, 7), (17, 20, 5, 33), (16, 16, 4, 48)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1.0, 3.0])  # the second makes scores of hundreds
def test_folded_logits_equal_the_textbooks_to_1e_12(shape, scale):
    model = model_with_biases(*shape, scale=scale)
    logits, _ = forward(fold(model), every_pair(shape[0]))
    expected = textbook_logits(model)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12 * expected.abs().max().item())


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_through_the_fold_equal_the_textbooks_to_1e_12(shape):
    model = model_with_biases(*shape)
    goal = targets(shape[0])
    folded, _ = PLAIN.pair_loss(fold(model), every_pair(shape[0]), goal)
    textbook = cross_entropy(textbook_logits(model), goal).mean()
    names = [name for name, _ in model.named_parameters()]
    actual = torch.autograd.grad(folded, list(model.parameters()))
    expected = torch.autograd.grad(textbook, list(model.parameters()))
    for name, one, other in zip(names, actual, expected, strict=True):
        atol = 1e-12 * max(other.abs().max().item(), 1e-3)
        torch.testing.assert_close(one, other, rtol=0, atol=atol, msg=name)


def test_the_gradient_of_every_table_reaches_the_weights_by_finite_differences():
    model = model_with_biases(3, 4, 2, 3)
    parameters = list(model.parameters())

    def tables_of(*_):
        return tuple(fold(model))

    assert torch.autograd.gradcheck(tables_of, parameters)


def test_activations_of_the_folded_model_are_the_hidden_units_of_the_textbook():
    model = model_with_biases(7, 12, 3, 10)
    _, expected = model.mlp_post_at_equals(*all_pairs(7))
    expected = expected[:, [9, 0, 4]].reshape(7, 7, 3).detach()
    for tables in (fold(model), fold_parameters(parameters_for_surfaces(model))):
        surfaces = PLAIN.activations(tables, torch.tensor([9, 0, 4]))
        torch.testing.assert_close(surfaces, expected, rtol=1e-12, atol=1e-12)
