"""Progress measures and fits of a state against the textbook forward, in float64, pair by pair."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from test_train import CPU, TINY

from grokking.analysis.circuit import ablate, cosines_explain, direction_fits, output_residual
from grokking.analysis.fourier import frequency_shares
from grokking.analysis.hindsight import examine
from grokking.extension import Kernel, implementations
from grokking.state import labeled_record, new_state, weights_of

P, KEYS = 7, [1, 3]


@pytest.fixture(params=["plain", *implementations()])
def setting(request):
    """(state, checkpoint) of a model with large weights and biases, by each way to compute."""
    training = new_state(TINY, CPU)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in training.model.parameters():
            parameter.mul_(1.5).add_(0.1 * torch.randn(parameter.shape, generator=generator))
    checkpoint = labeled_record(training, 8, weights_of(training.model))
    kernel = Kernel(None if request.param == "plain" else request.param, 1)
    return examine(checkpoint, kernel), training


@pytest.fixture
def state(setting):
    return setting[0]


@pytest.fixture
def textbook(setting):
    """(logits [p, p, p], post [p, p, d_mlp], W_L, training mask [p, p]) in float64."""
    model = setting[1].model.double()
    a, b = torch.meshgrid(torch.arange(P), torch.arange(P), indexing="ij")
    tokens = torch.stack([a, b, torch.full_like(a, P)], -1).reshape(-1, 3)
    with torch.no_grad():
        logits = model(tokens)[:, 2].reshape(P, P, P).numpy()
        post = model.mlp_post_at_equals(a.flatten(), b.flatten())[1].reshape(P, P, -1).numpy()
        W_L = (model.W_out @ model.W_U).numpy()
    mask = np.zeros(P * P, dtype=bool)
    mask[setting[1].split.train.numpy()] = True
    return logits, post, W_L, mask.reshape(P, P)


def wave(k, kind, x):
    return getattr(np, kind)(2 * math.pi * k * x / P)


def losses(logits):
    a, b = np.ogrid[:P, :P]
    target = np.take_along_axis(logits, ((a + b) % P)[:, :, None], axis=2)[:, :, 0]
    peak = logits.max(axis=2)
    return np.log(np.exp(logits - peak[:, :, None]).sum(axis=2)) + peak - target


def key_part(logits, keys):
    a, b = np.ogrid[:P, :P]
    part = np.zeros_like(logits)
    for k in keys:
        for kind in ("cos", "sin"):
            direction = wave(k, kind, a + b) / np.linalg.norm(wave(k, kind, a + b))
            part += np.einsum("ab,abc->c", direction, logits) * direction[:, :, None]
    return part


def test_losses_of_both_parts_of_the_split(state, textbook):
    logits, _, _, mask = textbook
    assert state.training_loss == pytest.approx(losses(logits)[mask].mean(), rel=1e-4)
    assert state.validation_loss == pytest.approx(losses(logits)[~mask].mean(), rel=1e-4)
    a, b = np.ogrid[:P, :P]
    right = logits.argmax(axis=2) == (a + b) % P
    assert state.validation_accuracy == pytest.approx(right[~mask].mean(), rel=1e-12)


def test_restricted_loss_is_over_all_pairs_with_the_given_frequencies(state, textbook):
    logits = textbook[0]
    kept = key_part(logits, KEYS) + logits.mean(axis=(0, 1))
    assert state.restricted_loss(KEYS) == pytest.approx(losses(kept).mean(), rel=1e-4)


def test_excluded_loss_is_over_the_training_pairs_without_the_frequencies(state, textbook):
    logits, _, _, mask = textbook
    expected = losses(logits - key_part(logits, KEYS))[mask].mean()
    found = state.excluded_losses(KEYS)
    assert found.all_at_once == pytest.approx(expected, rel=1e-4)
    for key, loss in zip(KEYS, found.one_at_a_time, strict=True):
        expected = losses(logits - key_part(logits, [key]))[mask].mean()
        assert loss == pytest.approx(expected, rel=1e-4)
    everywhere = losses(logits - key_part(logits, KEYS)).mean()
    assert state.excluded_loss(KEYS, np.arange(P * P)) == pytest.approx(everywhere, rel=1e-4)


def test_without_any_frequency_nothing_is_excluded(state):
    assert state.excluded_loss([]) == pytest.approx(state.training_loss, rel=1e-6)


def test_periodic_neurons_have_more_than_85_percent_in_one_frequency(state, textbook):
    post = textbook[1]
    shares = [frequency_shares(post[:, :, i]) for i in range(post.shape[2])]
    expected = sum(s is not None and s.max() > 0.85 for s in shares)
    assert state.periodic_neurons() == expected


def test_surfaces_of_chosen_neurons(state, textbook):
    np.testing.assert_allclose(state.surfaces([5, 2]), textbook[1][:, :, [5, 2]], atol=1e-4)


def test_key_frequencies_follow_from_the_spectrum_of_W_L(state, textbook):
    W_L, classes = textbook[2], np.arange(P)
    norms = [
        math.hypot(*(np.linalg.norm(W_L @ wave(k, kind, classes)) for kind in ("cos", "sin")))
        for k in (1, 2, 3)
    ]
    assert state.key_frequencies() == [k for k in (1, 2, 3) if norms[k - 1] > max(norms) / 4]


def test_the_residual_of_W_L_is_what_no_key_frequency_of_c_holds(state, textbook):
    W_L, c = textbook[2], np.arange(P)
    design = np.stack([wave(k, kind, c) for k in KEYS for kind in ("cos", "sin")], axis=1)
    fit, *_ = np.linalg.lstsq(design, W_L.T, rcond=None)
    expected = np.linalg.norm(W_L.T - design @ fit) / np.linalg.norm(W_L)
    assert output_residual(state, KEYS) == pytest.approx(expected, rel=1e-5)


def test_direction_fits_are_the_r_squared_of_a_regression(state, textbook):
    _, post, W_L, _ = textbook
    a, b = np.ogrid[:P, :P]
    for fit in direction_fits(state, KEYS):
        along = post @ W_L @ wave(fit.frequency, fit.wave, np.arange(P))
        design = np.stack([wave(fit.frequency, fit.wave, a + b).ravel(), np.ones(P * P)], axis=1)
        coefficients, *_ = np.linalg.lstsq(design, along.ravel(), rcond=None)
        residual = along.ravel() - design @ coefficients
        assert fit.explained == pytest.approx(1 - residual.var() / along.var(), abs=1e-4)


def test_cosines_explain_the_r_squared_of_a_regression_over_all_logits(state, textbook):
    logits = textbook[0] - textbook[0].mean(axis=2, keepdims=True)
    a, b, c = np.ogrid[:P, :P, :P]
    design = np.stack([wave(k, "cos", a + b - c).ravel() for k in KEYS], axis=1)
    fit, *_ = np.linalg.lstsq(design, logits.ravel(), rcond=None)
    residual = logits.ravel() - design @ fit
    expected = 1 - (residual**2).sum() / (logits**2).sum()
    assert cosines_explain(state, KEYS) == pytest.approx(expected, rel=1e-4)
    lifted = (
        state.logits + np.arange(P * P, dtype=np.float32)[:, None]
    )  # the softmax is blind to it
    same = cosines_explain(dataclasses.replace(state, logits=lifted), KEYS)
    assert same == pytest.approx(expected, rel=1e-3)


def test_ablations_project_the_activations_and_leave_the_rest(state, textbook):
    logits, post, W_L, _ = textbook
    past_the_mlp = logits - post @ W_L
    c = np.arange(P)
    span = np.stack([W_L @ wave(k, kind, c) for k in KEYS for kind in ("cos", "sin")], axis=1)
    on = post @ span @ np.linalg.pinv(span)
    found = ablate(state, KEYS)
    assert found.full == pytest.approx(losses(logits).mean(), rel=1e-4)
    assert found.on_key_directions == pytest.approx(
        losses(past_the_mlp + on @ W_L).mean(), rel=1e-3
    )
    off = past_the_mlp + (post - on) @ W_L
    assert found.on_null_space == pytest.approx(losses(off).mean(), rel=1e-3)
