"""Progress measures and fits of a state against the textbook forward, in float64, pair by pair."""

import dataclasses
import math
from functools import partial

import numpy as np
import pytest
import torch

from grokking.analysis.circuit import (
    ablate,
    cosines_explain,
    direction_fits,
    key_span,
    output_residuals,
)
from grokking.analysis.hindsight import examine, look_back
from grokking.kernels.choice import choose_on_cpu
from grokking.kernels.compiled import implementations
from grokking.training.state import labeled_record, new_state, weights_of
from tests.support import textbook
from tests.support.addition import addition
from tests.support.textbook import key_part, losses
from tests.support.training import CPU, TINY

P, KEYS = 7, [1, 3]


def trained():
    """A model with large weights and biases, a few one-wave neurons and a peaked W_L."""
    training = new_state(TINY, CPU)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in training.model.parameters():
            parameter.mul_(1.5).add_(0.1 * torch.randn(parameter.shape, generator=generator))
        plant_waves(training.model)
        textbook.peak_output(training.model)
    return training


def plant_waves(model):
    """Neurons 0, 5 and 9 follow one frequency each, as nearly as d_model dimensions allow."""
    a, b = torch.arange(P * P) // P, torch.arange(P * P) % P
    resid_mid = model.mlp_post_at_equals(a, b)[0]
    for neuron, k in ((0, 1), (5, 2), (9, 3)):
        surface = torch.cos(2 * math.pi * k * a / P) + torch.cos(2 * math.pi * k * b / P + neuron)
        model.W_in[:, neuron] = torch.linalg.lstsq(resid_mid, surface[:, None]).solution[:, 0]
        model.b_in[neuron] = 3.0


@pytest.fixture(params=["torch", *implementations()])
def kernel(request):
    """Each way to compute."""
    return choose_on_cpu(request.param, 1)


@pytest.fixture
def setting(kernel):
    """(state, the training that its checkpoint is of)."""
    training = trained()
    return examine(checkpoint(training, 8), addition(P), kernel), training


def checkpoint(training, epoch):
    return labeled_record(training, epoch, weights_of(training.model))


@pytest.fixture
def state(setting):
    return setting[0]


@pytest.fixture
def reference(setting):
    """(logits [p, p, p], post [p, p, d_mlp], W_L, training mask [p, p]) in float64."""
    return *textbook.forward(setting[1].model), mask_of(setting[1])


def mask_of(training):
    mask = np.zeros(P * P, dtype=bool)
    mask[training.split.train.numpy()] = True
    return mask.reshape(P, P)


def wave(k, kind, x):
    return textbook.wave(k, kind, x, P)


def test_look_back_is_the_textbook_at_every_recorded_state(kernel):
    """Each column, where restricted and excluded losses and those of the keys all differ."""
    recorded = [(3, new_state(TINY, CPU)), (8, trained())]
    loads = [partial(checkpoint, training, epoch) for epoch, training in recorded]
    found = look_back(loads, addition(P), KEYS, kernel, workers=2)
    assert (found.key_frequencies, found.epochs) == (KEYS, [3, 8])
    assert len(found.excluded_losses_by_frequency) == len(KEYS)
    for i, (_, training) in enumerate(recorded):
        weights = weights_of(training.model)
        logits, post, W_L = textbook.forward(training.model)
        mask = mask_of(training)
        near = {"rel": 0, "abs": textbook.rounding(training.model, logits)}

        def excluded(keys, logits=logits, mask=mask):
            return losses(logits - key_part(logits, keys))[mask].mean()

        restricted = losses(key_part(logits, KEYS) + logits.mean(axis=(0, 1))).mean()
        assert found.training_losses[i] == pytest.approx(losses(logits)[mask].mean(), **near)
        assert found.validation_losses[i] == pytest.approx(losses(logits)[~mask].mean(), **near)
        assert found.validation_accuracies[i] == textbook.right(logits)[~mask].mean()
        assert found.restricted_losses[i] == pytest.approx(restricted, **near)
        assert found.excluded_losses[i] == pytest.approx(excluded(KEYS), **near)
        for key, series in zip(KEYS, found.excluded_losses_by_frequency, strict=True):
            assert series[i] == pytest.approx(excluded([key]), **near)
        assert found.periodic_neurons[i] == textbook.periodic(post)
        squares = sum(math.fsum(w.double().flatten() ** 2) for w in weights.values())
        assert found.squares_total[i] == pytest.approx(squares, rel=1e-12)
        for name, rows in (("W_E_gini", weights["W_E"][:P].double().numpy()), ("W_L_gini", W_L.T)):
            expected = textbook.gini(textbook.components(rows))
            assert getattr(found, name)[i] == pytest.approx(
                expected, rel=sum(rows.shape) * textbook.EPSILON
            )


def test_losses_of_both_parts_of_the_split(state, reference):
    logits, _, _, mask = reference
    assert state.training_loss == pytest.approx(losses(logits)[mask].mean(), rel=1e-4)
    assert state.validation_loss == pytest.approx(losses(logits)[~mask].mean(), rel=1e-4)
    right = textbook.right(logits)
    assert right[mask].mean() != right[~mask].mean()
    assert state.training_accuracy == right[mask].mean()
    assert state.validation_accuracy == right[~mask].mean()


def test_restricted_loss_is_over_all_pairs_with_the_given_frequencies(state, reference):
    logits = reference[0]
    kept = key_part(logits, KEYS) + logits.mean(axis=(0, 1))
    assert state.restricted_loss(KEYS) == pytest.approx(losses(kept).mean(), rel=1e-4)


def test_excluded_loss_is_over_the_training_pairs_without_the_frequencies(state, reference):
    logits, _, _, mask = reference
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


def test_periodic_neurons_have_more_than_85_percent_in_one_frequency(state, reference):
    post = reference[1]
    expected = textbook.periodic(post)
    assert 0 < expected < post.shape[2]
    assert state.periodic_neurons() == expected


def test_surfaces_of_chosen_neurons(state, reference):
    np.testing.assert_allclose(state.surfaces([5, 2]), reference[1][:, :, [5, 2]], atol=1e-4)


def test_key_frequencies_follow_from_the_spectrum_of_W_L(state, reference):
    assert state.key_blocks() == textbook.leading(reference[2].T) == [1, 3]


def test_the_residuals_of_W_L(state, reference):
    """What no key frequency of c holds, and what the best approximation of that rank leaves."""
    W_L, c = reference[2], np.arange(P)
    design = np.stack([wave(k, kind, c) for k in KEYS for kind in ("cos", "sin")], axis=1)
    fit, *_ = np.linalg.lstsq(design, W_L.T, rcond=None)
    expected = np.linalg.norm(W_L.T - design @ fit) / np.linalg.norm(W_L)
    found = output_residuals(state, KEYS)
    assert found.on_waves == pytest.approx(expected, rel=1e-5)
    assert found.on_waves_squared == pytest.approx(expected**2, rel=1e-5)
    left, strengths, right = np.linalg.svd(W_L)
    rank = 2 * len(KEYS)
    best = left[:, :rank] * strengths[:rank] @ right[:rank]
    assert found.best_rank == pytest.approx(
        np.linalg.norm(W_L - best) / np.linalg.norm(W_L), rel=1e-5
    )
    assert found.best_rank <= found.on_waves


def test_direction_fits_are_the_r_squared_of_a_regression(state, reference):
    _, post, W_L, _ = reference
    a, b = np.ogrid[:P, :P]
    for fit in direction_fits(state, KEYS):
        along = post @ W_L @ wave(fit.frequency, ("cos", "sin")[fit.function], np.arange(P))
        design = np.stack(
            [wave(fit.frequency, ("cos", "sin")[fit.function], a + b).ravel(), np.ones(P * P)],
            axis=1,
        )
        coefficients, *_ = np.linalg.lstsq(design, along.ravel(), rcond=None)
        residual = along.ravel() - design @ coefficients
        assert fit.explained == pytest.approx(1 - residual.var() / along.var(), abs=1e-4)


def test_cosines_explain_the_r_squared_of_a_regression_over_all_logits(state, reference):
    logits = reference[0] - reference[0].mean(axis=2, keepdims=True)
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


def test_ablations_project_the_activations_and_leave_the_rest(state, reference):
    logits, post, W_L, _ = reference
    past_the_mlp = logits - post @ W_L
    c = np.arange(P)
    span = np.stack([W_L @ wave(k, kind, c) for k in KEYS for kind in ("cos", "sin")], axis=1)
    on = post @ span @ np.linalg.pinv(span)
    found = ablate(state, key_span(state, KEYS))
    assert found.full == pytest.approx(losses(logits).mean(), rel=1e-4)
    assert found.on_key_directions == pytest.approx(
        losses(past_the_mlp + on @ W_L).mean(), rel=1e-3
    )
    off = past_the_mlp + (post - on) @ W_L
    assert found.on_null_space == pytest.approx(losses(off).mean(), rel=1e-3)
