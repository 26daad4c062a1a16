"""Fourier measures against slow references that spell out their definitions."""

import math

import numpy as np
import pytest

from grokking.fourier import (
    Array,
    diagonal_periodicity,
    fourier_basis,
    frequency_shares,
    strongest_wave,
    wave_order,
)
from tests.support.synthetic import neuron

PRIMES = (3, 5, 7, 13, 113)


def noise(p: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(p, p))


def slow_shares(values: Array) -> list[float]:
    """Project the centred surface on every product function, one double loop at a time."""
    p = len(values)
    x = np.arange(p)
    centred = values - values.mean()
    shares = []
    for k in range(1, (p - 1) // 2 + 1):
        w = 2 * math.pi * k / p
        functions = [np.ones(p), np.cos(w * x), np.sin(w * x)]
        captured = 0.0
        for i, f in enumerate(functions):
            for j, g in enumerate(functions):
                if i == j == 0:
                    continue
                product = np.outer(f, g)
                captured += (centred * product).sum() ** 2 / (product**2).sum()
        shares.append(captured / (centred**2).sum())
    return shares


def slow_diagonal_strength(values: Array) -> float:
    p = len(values)
    power: list[float] = [
        abs(sum(values[n, n] * np.exp(-2j * np.pi * b * n / p) for n in range(p))) ** 2
        for b in range(p)
    ]
    return max(power[1 : (p - 1) // 2 + 1]) / sum(power)


@pytest.mark.parametrize("p", (1, *PRIMES, 15))
def test_basis_is_orthonormal_and_its_rows_are_the_named_waves(p: int) -> None:
    basis = fourier_basis(p)
    np.testing.assert_allclose(basis @ basis.T, np.eye(p), atol=1e-13)
    x = np.arange(p)
    for k in range(1, (p - 1) // 2 + 1):
        cosine = np.cos(2 * np.pi * k * x / p)
        sine = np.sin(2 * np.pi * k * x / p)
        np.testing.assert_allclose(basis[2 * k - 1], cosine / np.linalg.norm(cosine), atol=1e-12)
        np.testing.assert_allclose(basis[2 * k], sine / np.linalg.norm(sine), atol=1e-12)


@pytest.mark.parametrize("p", (-1, 0, 2, 114))
def test_basis_refuses_a_modulus_that_is_not_odd(p: int) -> None:
    with pytest.raises(ValueError, match=f"p is {p}"):
        fourier_basis(p)


@pytest.mark.parametrize("p", (3, 7, 13, 15, 31))
def test_shares_equal_the_slow_projection(p: int) -> None:
    for values in (noise(p), neuron(p, 1), neuron(p, (p - 1) // 2), noise(p) + 1e6):
        shares = frequency_shares(values)
        assert shares is not None
        np.testing.assert_allclose(shares, slow_shares(values), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("p", (3, 4, 7, 13, 16, 31))
def test_diagonal_strength_equals_the_slow_transform(p: int) -> None:
    for values in (noise(p), noise(p, 1) + 5):
        strength = diagonal_periodicity(values).strength
        np.testing.assert_allclose(strength, slow_diagonal_strength(values), rtol=1e-9)


@pytest.mark.parametrize("k", (1, 19, 56))
def test_a_pure_wave_puts_all_its_variance_in_its_own_frequency(k: int) -> None:
    x, y = np.indices((113, 113))
    wave = strongest_wave(3 + np.cos(2 * np.pi * k * (x + y) / 113 + 0.3))
    assert wave is not None and wave.frequency == k
    assert abs(wave.share - 1) < 1e-12


def test_the_last_bin_is_searched_on_the_diagonal() -> None:
    """Bin 56 of 113 must be found: frequency k on the diagonal of cos(w_k x) is bin k."""
    x, _ = np.indices((113, 113))
    found = diagonal_periodicity(np.cos(2 * np.pi * 56 * x / 113))
    assert found.frequency == 56
    assert abs(found.strength - 0.5) < 1e-12  # the mirror image holds the other half


def test_variance_in_two_frequencies_is_shared_and_mixed_products_belong_to_none() -> None:
    x, y = np.indices((13, 13))
    first, second = np.cos(2 * np.pi * 2 * x / 13), np.cos(2 * np.pi * 5 * y / 13)
    shares = frequency_shares(first + 2 * second)
    assert shares is not None
    np.testing.assert_allclose(shares, [0, 0.2, 0, 0, 0.8, 0], atol=1e-12)
    mixed = frequency_shares(first * second)
    assert mixed is not None
    np.testing.assert_allclose(mixed, 0, atol=1e-12)


@pytest.mark.parametrize("scale", (1e-300, 1e-30, 1e30, 1e300))
def test_measures_do_not_depend_on_the_scale(scale: float) -> None:
    values = neuron(113, 19)
    wave, scaled = strongest_wave(values), strongest_wave(values * scale)
    assert wave is not None and scaled is not None and wave.frequency == scaled.frequency == 19
    assert abs(wave.share - scaled.share) < 1e-12
    diagonal, scaled_diagonal = diagonal_periodicity(values), diagonal_periodicity(values * scale)
    assert diagonal.frequency == scaled_diagonal.frequency
    assert abs(diagonal.strength - scaled_diagonal.strength) < 1e-12


@pytest.mark.parametrize("p", (1, 2, 3, 4, 113))
@pytest.mark.parametrize("constant", (0.0, 0.1, 1e-320, 1e300))
def test_a_dead_or_constant_neuron_has_no_wave(p: int, constant: float) -> None:
    values = np.full((p, p), constant)
    assert diagonal_periodicity(values) == (None, 0.0)
    assert strongest_wave(values) is None


@pytest.mark.parametrize("p", (1, 2, 4, 112))
def test_shares_need_an_odd_modulus_of_at_least_three(p: int) -> None:
    assert frequency_shares(noise(p)) is None


@pytest.mark.parametrize("p", PRIMES)
def test_wave_order_turns_every_frequency_of_a_prime_into_the_wanted_one(p: int) -> None:
    i = np.arange(p)
    for k in range(1, (p - 1) // 2 + 1):
        for waves in (1, 2, 4):
            order = wave_order(p, k, waves)
            assert order is not None
            assert sorted(order) == list(range(p))
            assert all((k * order - waves * i) % p == 0)


def test_a_surface_in_wave_order_has_the_wanted_frequency_and_the_same_share() -> None:
    values, order = neuron(113, 19), wave_order(113, 19)
    assert order is not None
    natural, reordered = strongest_wave(values), strongest_wave(values[np.ix_(order, order)])
    assert natural is not None and reordered is not None
    assert (natural.frequency, reordered.frequency) == (19, 4)
    assert abs(natural.share - reordered.share) < 1e-12


def test_wave_order_is_absent_where_it_would_repeat_operands() -> None:
    assert wave_order(15, 3) is None
    assert wave_order(15, 2, waves=5) is None
    composite = wave_order(15, 2)
    assert composite is not None and sorted(composite) == list(range(15))
