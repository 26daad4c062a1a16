"""The transformer's two forwards against loops in numpy and each other; its names, shapes and first weights."""

import numpy as np
import pytest
import torch

from grokking.model.loss import cross_entropy
from grokking.model.transformer import Transformer
from tests.support.addition import all_pairs, generators, targets


def small_model(modulus=11, d_model=24, num_heads=3, d_mlp=20, seed=0):
    model = Transformer(modulus, d_model, num_heads, d_mlp, generators(seed)[0]).double()
    with torch.no_grad():  # biases start at zero, where a forgotten one would not show
        for bias in (model.b_in, model.b_out):
            bias.copy_(torch.randn(bias.shape, generator=generators(seed)[1]) * 0.3)
    return model


def textbook_tokens(modulus):
    a, b = all_pairs(modulus)
    return torch.stack([a, b, torch.full_like(a, modulus)], dim=1)


def numpy_forward(model, tokens):
    """One sequence, loops only: [3] tokens -> [3, p] logits."""
    W = {name: p.detach().numpy() for name, p in model.named_parameters()}
    resid = np.array([W["W_E"][t] + W["W_pos"][i] for i, t in enumerate(tokens)])
    attention = np.zeros_like(resid)
    for head in range(W["W_Q"].shape[0]):
        query, key, value = (resid @ W[name][head] for name in ("W_Q", "W_K", "W_V"))
        for i in range(3):
            scores = np.array([query[i] @ key[j] / np.sqrt(query.shape[1]) for j in range(i + 1)])
            weights = np.exp(scores) / np.exp(scores).sum()
            mixed = sum(weights[j] * value[j] for j in range(i + 1))
            attention[i] += mixed @ W["W_O"][head]
    resid = resid + attention
    hidden = np.maximum(resid @ W["W_in"] + W["b_in"], 0)
    return (resid + hidden @ W["W_out"] + W["b_out"]) @ W["W_U"]


def test_textbook_forward_equals_numpy():
    model = small_model()
    tokens = textbook_tokens(11)[::7]
    expected = np.array([numpy_forward(model, t) for t in tokens.numpy()])
    np.testing.assert_allclose(model(tokens).detach().numpy(), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("num_heads", [1, 3, 4])
def test_last_position_forward_equals_textbook_values_and_gradients(num_heads):
    model = small_model(num_heads=num_heads)
    a, b = all_pairs(11)
    results = {}
    for name, logits in (
        ("textbook", model(textbook_tokens(11))[:, 2]),
        ("last", model.logits_at_equals(a, b)),
    ):
        loss = cross_entropy(logits, targets(11)).mean()
        results[name] = (logits.detach(), torch.autograd.grad(loss, list(model.parameters())))
    torch.testing.assert_close(results["last"][0], results["textbook"][0], rtol=1e-12, atol=1e-13)
    for ours, theirs in zip(results["last"][1], results["textbook"][1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-13)


def test_attention_is_causal():
    model = small_model()
    tokens = torch.tensor([[1, 2, 11], [1, 5, 11], [3, 2, 11]])
    logits = model(tokens).detach()
    # close, not equal: a matrix product may round each row of a batch in its own way
    torch.testing.assert_close(logits[0, 0], logits[1, 0], rtol=1e-12, atol=1e-13)
    assert not torch.allclose(logits[0, 0], logits[2, 0])
    assert not torch.allclose(logits[0, 1], logits[1, 1])


def test_shapes_names_and_initial_scales_are_those_of_the_field():
    model = Transformer(113, 128, 4, 512, generators(42)[0])
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    assert shapes == {
        "W_E": (114, 128),
        "W_pos": (3, 128),
        "W_Q": (4, 128, 32),
        "W_K": (4, 128, 32),
        "W_V": (4, 128, 32),
        "W_O": (4, 32, 128),
        "W_in": (128, 512),
        "b_in": (512,),
        "W_out": (512, 128),
        "b_out": (128,),
        "W_U": (128, 113),
    }
    for name, p in model.named_parameters():
        if name.startswith("b_"):
            assert p.eq(0).all()
        elif p.numel() > 10_000:
            scale = 114**-0.5 if name == "W_U" else 128**-0.5
            assert p.std().item() == pytest.approx(scale, rel=0.03)


def test_nan_in_a_weight_reaches_the_logits():
    model = small_model()
    with torch.no_grad():
        model.W_in[0, 0] = torch.nan
    a, b = all_pairs(11)
    assert model.logits_at_equals(a, b).isnan().all()
