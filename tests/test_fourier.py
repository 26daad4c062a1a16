"""Fourier measures against slow references that spell out their definitions."""

import itertools
import math

import numpy as np
import pytest

from grokking.analysis.spectra import amplitudes, surface_shares
from grokking.fourier import (
    CHARACTERS,
    CYCLES,
    Array,
    block_shares,
    cyclic_basis,
    diagonal_periodicity,
    s5_basis,
    s5_products,
    strongest_wave,
    wave_order,
    waves_shown,
)
from tests.support.synthetic import neuron

PRIMES = (3, 5, 7, 13, 113)


def noise(p: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(p, p))


def slow_shares(values: Array) -> list[float]:
    """Project the centred surface on every product function, one double loop at a time."""
    n = len(values)
    x = np.arange(n)
    centred = values - values.mean()
    shares = []
    for k in range(1, n // 2 + 1):
        w = 2 * math.pi * k / n
        functions = [np.ones(n), np.cos(w * x)] + ([np.sin(w * x)] if 2 * k < n else [])
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


@pytest.mark.parametrize("n", (1, 2, 4, *PRIMES, 12, 15, 16, 112))
def test_the_cyclic_basis_is_orthonormal_and_its_rows_are_the_named_waves(n: int) -> None:
    basis = cyclic_basis(n)
    np.testing.assert_allclose(basis.functions @ basis.functions.T, np.eye(n), atol=1e-13)
    assert len(basis.sizes) == n // 2 and sum(basis.sizes) == n - 1
    x = np.arange(n)
    for k, block in enumerate(basis.blocks, start=1):
        waves = [np.cos(2 * np.pi * k * x / n)]
        if 2 * k < n:
            waves.append(np.sin(2 * np.pi * k * x / n))
        expected = np.stack([wave / np.linalg.norm(wave) for wave in waves])
        np.testing.assert_allclose(basis.functions[block], expected, atol=1e-12)


def all_products() -> list[list[int]]:
    """The multiplication table of S_5, one product at a time."""
    elements = list(itertools.permutations(range(5)))
    return [[elements.index(tuple(a[b[i]] for i in range(5))) for b in elements] for a in elements]


def test_the_products_of_s5_are_compositions() -> None:
    assert s5_products().tolist() == all_products()


def test_the_characters_of_s5_are_orthonormal_over_the_group() -> None:
    """With the trivial one: sum over the group of chi chi' is 120 or 0, and d^2 add up to 120."""
    elements = list(itertools.permutations(range(5)))
    classes = [CYCLES.index(cycle_type(element)) for element in elements]
    table = np.array([[1] * 7, *CHARACTERS.values()])[:, classes]  # [irrep, element]
    np.testing.assert_array_equal(table @ table.T, 120 * np.eye(7))
    assert (table[:, 0] ** 2).sum() == 120


def cycle_type(permutation: tuple[int, ...]) -> tuple[int, ...]:
    """From the powers of the permutation: i lies on a cycle as long as its way back to itself."""
    lengths = []
    for i in range(5):
        at, length = permutation[i], 1
        while at != i:
            at, length = permutation[at], length + 1
        lengths.append(length)
    return tuple(
        sorted((n for n in set(lengths) for _ in range(lengths.count(n) // n)), reverse=True)
    )


def test_the_basis_of_s5_is_orthonormal_and_no_shift_mixes_two_blocks() -> None:
    basis, products = s5_basis(), s5_products()
    np.testing.assert_allclose(basis.functions @ basis.functions.T, np.eye(120), atol=1e-12)
    assert basis.sizes == (1, 16, 16, 25, 25, 36)
    for g in (1, 7, 64, 119):
        for shifted in (products[g], products[:, g]):  # x -> g x, and x -> x g
            moved = basis.functions[:, shifted] @ basis.functions.T
            for block in basis.blocks:
                own = np.zeros((120, 120))
                own[block, block] = moved[block, block]
                np.testing.assert_allclose(moved[block], own[block], atol=1e-12)


@pytest.mark.parametrize("name", CHARACTERS)
def test_a_planted_character_is_found_with_its_amplitude(name: str) -> None:
    """Logits 3 chi(s c^-1) lie in one block, and its amplitude is 3."""
    basis, products = s5_basis(), s5_products()
    inverse = [row.index(0) for row in products.tolist()]
    elements = list(itertools.permutations(range(5)))
    character = CHARACTERS[name]
    by_element = np.array([character[CYCLES.index(cycle_type(e))] for e in elements])
    logits = 3.0 * by_element[products[:, inverse]]  # [s, c]
    expected = [3.0 if other == name else 0.0 for other in basis.names]
    np.testing.assert_allclose(amplitudes(logits, basis), expected, atol=1e-12)


def test_chance_gives_the_largest_irrep_a_tenth_of_the_variance_of_noise() -> None:
    """9.5 %: 37^2 - 1 of the 120^2 - 1 dimensions."""
    shares = np.mean([block_shares(noise(120, seed), s5_basis()) for seed in range(20)], axis=0)
    dimensions = np.array([(1 + size) ** 2 - 1 for size in s5_basis().sizes])
    np.testing.assert_allclose(shares, dimensions / (120**2 - 1), atol=0.004)


def test_a_surface_of_one_irrep_has_all_its_variance_there() -> None:
    basis = s5_basis()
    rng = np.random.default_rng(0)
    rows = np.concatenate([basis.functions[:1], basis.functions[basis.blocks[3]]])
    values = rows.T @ rng.normal(size=(26, 26)) @ rows
    np.testing.assert_allclose(block_shares(values, basis), [0, 0, 0, 1, 0, 0], atol=1e-12)
    many = surface_shares(values.astype(np.float32)[:, :, None], basis)[:, 0]
    np.testing.assert_allclose(many, [0, 0, 0, 1, 0, 0], atol=1e-5)


def test_an_even_modulus_has_its_waves() -> None:
    x, y = np.indices((16, 16))
    wave = strongest_wave(1 + np.cos(2 * np.pi * 3 * (x + y) / 16), cyclic_basis(16))
    assert wave is not None and wave.frequency == 3 and abs(wave.share - 1) < 1e-12
    alternating = strongest_wave(1.0 * (-1) ** (x + y), cyclic_basis(16))
    assert alternating is not None and alternating.frequency == 8


@pytest.mark.parametrize("p", (2, 3, 4, 7, 12, 13, 15, 16, 31))
def test_shares_equal_the_slow_projection(p: int) -> None:
    for values in (noise(p), neuron(p, 1), neuron(p, p // 2), noise(p) + 1e6):
        shares = block_shares(values, cyclic_basis(p))
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
    wave = strongest_wave(3 + np.cos(2 * np.pi * k * (x + y) / 113 + 0.3), cyclic_basis(113))
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
    shares = block_shares(first + 2 * second, cyclic_basis(13))
    assert shares is not None
    np.testing.assert_allclose(shares, [0, 0.2, 0, 0, 0.8, 0], atol=1e-12)
    mixed = block_shares(first * second, cyclic_basis(13))
    assert mixed is not None
    np.testing.assert_allclose(mixed, 0, atol=1e-12)


@pytest.mark.parametrize("scale", (1e-300, 1e-30, 1e30, 1e300))
def test_measures_do_not_depend_on_the_scale(scale: float) -> None:
    values = neuron(113, 19)
    basis = cyclic_basis(113)
    wave, scaled = strongest_wave(values, basis), strongest_wave(values * scale, basis)
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
    assert strongest_wave(values, cyclic_basis(p)) is None


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
    values, order = neuron(113, 19), wave_order(113, 19, 4)
    assert order is not None
    basis = cyclic_basis(113)
    natural = strongest_wave(values, basis)
    reordered = strongest_wave(values[np.ix_(order, order)], basis)
    assert natural is not None and reordered is not None
    assert (natural.frequency, reordered.frequency) == (19, 4)
    assert abs(natural.share - reordered.share) < 1e-12


@pytest.mark.parametrize("n", (2, 4, 5, 6, 9, 12, 15, 16, 112))
def test_every_frequency_has_an_order_in_which_it_is_a_plain_wave(n: int) -> None:
    for k in range(1, n // 2 + 1):
        waves = waves_shown(n, k)
        order = wave_order(n, k, waves)
        assert sorted(order) == list(range(n))
        assert waves == 1 or (math.gcd(waves, n) == 1 and waves <= (n - 1) // 2)
        phase = k * order % n
        if math.gcd(k, n) == 1:
            assert (phase == waves * np.arange(n) % n).all()
        else:  # one period, by phase; elements of one phase as counted
            assert waves == 1 and (np.diff(phase) >= 0).all()
            assert (np.diff(order)[np.diff(phase) == 0] > 0).all()


def test_four_waves_are_shown_where_they_can_be() -> None:
    shown = {n: waves_shown(n, 1) for n in (3, 5, 7, 9, 15, 113, 12, 16, 112, 2, 4)}
    assert shown == {3: 1, 5: 2, 7: 3, 9: 4, 15: 4, 113: 4, 12: 5, 16: 3, 112: 3, 2: 1, 4: 1}
