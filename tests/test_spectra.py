"""Spectra against sums written straight from their definitions, over all pairs, without a basis."""

import math

import numpy as np
import pytest

from grokking.analysis.spectra import (
    amplitudes,
    block_norms,
    component_norms,
    gini,
    key_blocks,
    mean_cross_entropy,
    project,
    restricted_loss,
    surface_shares,
)
from grokking.fourier import block_shares, cyclic_basis

P = 11
BASIS = cyclic_basis(P)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def all_pairs_logits(rng, noise=1.0):
    """Logits [p, p, p] of a made-up model: waves of a + b - c, functions of a + b, and noise."""
    a, b, c = np.ogrid[:P, :P, :P]
    turn = 2 * np.pi * (a + b - c) / P
    waves = 6 * np.cos(2 * turn) + 3 * np.cos(5 * turn)
    of_sum = rng.normal(size=P)[(a + b) % P] * rng.normal(size=P)
    return waves + of_sum + noise * rng.normal(size=(P, P, P))


def class_means(logits):
    means = np.zeros((P, P))
    for a in range(P):
        for b in range(P):
            means[(a + b) % P] += logits[a, b] / P
    return means


def slow_projection(logits, chosen):
    """Projection of each logit, as a function on the p x p grid, on cos and sin(w_k (a + b))."""
    a, b = np.ogrid[:P, :P]
    projection = np.zeros_like(logits)
    for k in chosen:
        for wave in (np.cos, np.sin):
            direction = wave(2 * np.pi * k * (a + b) / P)
            direction = direction / math.sqrt((direction**2).sum())
            for c in range(P):
                projection[:, :, c] += (direction * logits[:, :, c]).sum() * direction
    return projection


def slow_loss(logits):
    """Mean of log(sum_j exp l_j) - l_t over all pairs."""
    total = 0.0
    for a in range(P):
        for b in range(P):
            row = logits[a, b]
            total += math.log(np.exp(row - row.max()).sum()) + row.max() - row[(a + b) % P]
    return total / P**2


def test_norms_of_components_and_frequencies(rng):
    rows = rng.normal(size=(P, 4))
    norms = component_norms(rows, BASIS)
    assert norms[0] == pytest.approx(np.linalg.norm(rows.sum(axis=0)) / math.sqrt(P), rel=1e-12)
    for k in (1, 5):
        angle = 2 * np.pi * k * np.arange(P) / P
        for component, wave in ((2 * k - 1, np.cos(angle)), (2 * k, np.sin(angle))):
            expected = np.linalg.norm(wave @ rows) / np.linalg.norm(wave)
            assert norms[component] == pytest.approx(expected, rel=1e-12)
        both = math.hypot(norms[2 * k - 1], norms[2 * k])
        assert block_norms(norms, BASIS)[k - 1] == pytest.approx(both, rel=1e-12)
    assert (norms**2).sum() == pytest.approx((rows**2).sum(), rel=1e-12)


def test_a_shifted_wave_has_one_frequency_whatever_its_phase():
    rows = np.cos(2 * np.pi * 3 * np.arange(P) / P + 0.7)[:, None]
    norms = block_norms(component_norms(rows, BASIS), BASIS)
    assert norms.argmax() == 2
    assert np.delete(norms, 2).max() < 1e-12
    assert norms[2] == pytest.approx(math.sqrt(P / 2), rel=1e-12)


def test_key_frequencies_exceed_a_quarter_of_the_largest_norm():
    assert key_blocks(np.array([1.0, 0.25, 0.2500001, 0.0, 0.9]), BASIS) == [1, 3, 5]
    assert key_blocks(np.zeros(5), BASIS) == []
    assert key_blocks(np.full(5, np.nan), BASIS) == []


def test_the_projection_of_class_means_is_that_of_all_logits(rng):
    logits = all_pairs_logits(rng)
    slow, fast = slow_projection(logits, [2, 4]), project(class_means(logits), [2, 4], BASIS)
    for a, b in ((0, 0), (3, 9), (10, 10)):
        np.testing.assert_allclose(slow[a, b], fast[(a + b) % P], rtol=0, atol=1e-12)


def test_restricted_loss_keeps_key_directions_and_the_mean_of_each_logit(rng):
    logits = all_pairs_logits(rng)
    for chosen in ([], [2], [2, 5]):
        kept = slow_projection(logits, chosen) + logits.mean(axis=(0, 1))
        expected = slow_loss(kept)
        assert restricted_loss(class_means(logits), chosen, BASIS) == pytest.approx(
            expected, rel=1e-11
        )


def test_amplitudes_are_the_least_squares_fit_to_all_logits(rng):
    logits = all_pairs_logits(rng)
    a, b, c = np.ogrid[:P, :P, :P]
    waves = [np.cos(2 * np.pi * k * (a + b - c) / P).ravel() for k in range(1, 6)]
    fit = np.linalg.lstsq(np.stack(waves, axis=1), logits.ravel(), rcond=None)[0]
    np.testing.assert_allclose(amplitudes(class_means(logits), BASIS), fit, rtol=0, atol=1e-12)


def test_gini_is_the_mean_difference_over_twice_the_mean(rng):
    values = rng.exponential(size=9)
    slow = sum(abs(x - y) for x in values for y in values) / (2 * 9 * values.sum())
    assert gini(values) == pytest.approx(slow, rel=1e-12)
    assert gini(np.ones(5)) == pytest.approx(0, abs=1e-15)
    assert gini(np.array([0, 0, 3.0, 0])) == pytest.approx(0.75, rel=1e-12)
    assert math.isnan(gini(np.zeros(4)))


def test_cross_entropy_keeps_its_precision_where_the_softmax_saturates():
    logits = np.array([[0.0, 60.0, 0.0], [2.0, 1.0, 0.5]])
    losses = mean_cross_entropy(logits, np.array([1, 2]))
    assert losses[0] == pytest.approx(2 * math.exp(-60), rel=1e-12, abs=0)
    assert losses[1] == pytest.approx(math.log(sum(map(math.exp, (2, 1, 0.5)))) - 0.5, rel=1e-12)
    assert np.isnan(mean_cross_entropy(np.array([[np.nan, 1.0]]), np.array([1]))).all()


def test_shares_of_many_surfaces_are_those_of_each():
    rng = np.random.default_rng(3)
    a, b = np.ogrid[:P, :P]
    wave = np.cos(2 * np.pi * 3 * (a + b) / P) + 0.4 * np.sin(2 * np.pi * 3 * a / P)
    linear = np.cos(2 * np.pi * 2 * b / P + 0 * a)
    noise = np.maximum(rng.normal(size=(P, P)), 0)
    surfaces = np.stack([5 + wave, linear, noise, np.zeros((P, P)), np.full((P, P), 2.5)], axis=-1)
    shares = surface_shares(surfaces.astype(np.float32), BASIS)
    for i in range(3):
        expected = block_shares(surfaces[:, :, i], BASIS)
        np.testing.assert_allclose(shares[:, i], expected, rtol=0, atol=1e-6)
    assert shares[2, 0] == pytest.approx(1, abs=1e-6)
    assert shares[1, 1] == pytest.approx(1, abs=1e-6)
    assert (shares[:, 3:] == 0).all()
