"""The loss that does not saturate, against float64 and against log_softmax."""

import math

import pytest
import torch

from grokking.model.loss import cross_entropy, is_correct


def test_equals_log_softmax_in_float64():
    torch.manual_seed(0)
    logits = (torch.randn(50, 11, dtype=torch.float64) * 5).requires_grad_()
    targets = torch.arange(50) % 11
    expected = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
    weights = torch.rand(50, dtype=torch.float64)
    (expected_grad,) = torch.autograd.grad((expected * weights).sum(), logits)
    losses = cross_entropy(logits, targets)
    (grad,) = torch.autograd.grad((losses * weights).sum(), logits)
    torch.testing.assert_close(losses, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-12, atol=1e-14)


def test_gradient_agrees_with_finite_differences():
    torch.manual_seed(1)
    logits = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, torch.arange(6) % 5), logits)


@pytest.mark.parametrize("margin", [5.0, 16.0, 17.0, 20.0, 40.0, 60.0])
def test_float32_keeps_relative_precision_where_log_softmax_returns_zero(margin):
    """log(1 + 112 e^-margin) down to 1e-24: the error bound is |l_t| * 6e-8 relative."""
    logits = torch.zeros(1, 113)
    logits[0, 7] = margin
    logits.requires_grad_()
    loss = cross_entropy(logits, torch.tensor([7]))
    exact = math.log1p(112 * math.exp(-margin))
    bound = max(margin * 6e-8, 3e-7)
    assert abs(loss.item() / exact - 1) <= bound
    (grad,) = torch.autograd.grad(loss.sum(), logits)
    other = math.exp(-margin) / (1 + 112 * math.exp(-margin))
    assert abs(grad[0, 0].item() / other - 1) <= bound
    assert abs(grad[0, 7].item() / (-112 * other) - 1) <= bound


@pytest.mark.parametrize(
    "row",
    [
        [math.nan, 0.0, 1.0],
        [0.0, math.nan, 1.0],
        [math.inf, 0.0, 1.0],
        [0.0, math.inf, 1.0],
        [-math.inf, 0.0, 1.0],
        [0.0, -math.inf, -math.inf],
        [-math.inf, -math.inf, -math.inf],
        [3e38, -3e38, 0.0],
        [-3e38, 3e38, 0.0],
        [3e38, 3e38, 3e38],
    ],
)
@pytest.mark.parametrize("target", [0, 1])
def test_follows_log_softmax_on_extremes(row, target):
    logits = torch.tensor([row])
    expected = -logits.log_softmax(dim=1)[0, target]
    torch.testing.assert_close(
        cross_entropy(logits, torch.tensor([target]))[0],
        expected,
        rtol=1e-6,
        atol=0,
        equal_nan=True,
    )


def test_a_tie_counts_for_the_first_maximum_only():
    logits = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    assert is_correct(logits, torch.tensor([0, 1])).tolist() == [True, False]


@pytest.mark.parametrize(
    "row", [[math.nan, 0.0], [5.0, math.nan], [math.inf, 0.0], [-math.inf, -math.inf], [1.0, 0.0]]
)
def test_a_pair_whose_loss_is_nan_is_never_correct(row):
    logits, target = torch.tensor([row]), torch.tensor([0])
    assert is_correct(logits, target).item() == (not cross_entropy(logits, target).isnan().item())
