"""Fourier structure of functions on the residues mod p, in numpy.

Frequencies k and p - k are one, so k runs over 1..(p-1)/2, with w_k = 2 pi k / p.
Conventions follow Nanda et al. (2023), arXiv 2301.05217, section 4 and appendix A.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Permutation = NDArray[np.int64]

# Share of its variance in one frequency above which a neuron counts as periodic (Nanda et al., 2023).
PERIODIC = 0.85
_ROUNDING = 1e-12  # relative: what is smaller than this in a spectrum is rounding


class Periodicity(NamedTuple):
    """Dominant frequency on the diagonal (None: there is no wave) and its share of all power."""

    frequency: int | None
    strength: float


class Wave(NamedTuple):
    """The strongest single frequency of a surface and its share of the variance."""

    frequency: int
    share: float


def frequencies(p: int) -> range:
    """The distinct frequencies 1..(p-1)//2."""
    return range(1, (p - 1) // 2 + 1)


def fourier_basis(p: int) -> Array:
    """Orthonormal rows over Z_p for odd p, [p, p]: constant, then cos and sin of w_k x for each k.

    Row 2k - 1 is sqrt(2/p) cos(w_k x), row 2k is sqrt(2/p) sin(w_k x). ValueError for even p,
    where the alternating function has no partner.
    """
    if p < 1 or p % 2 == 0:
        raise ValueError(f"p is {p}, expected an odd number >= 1")
    angle = 2 * np.pi / p * (np.outer(frequencies(p), np.arange(p)) % p)  # [(p-1)/2, p]
    basis = np.full((p, p), p**-0.5)
    basis[1::2] = (2 / p) ** 0.5 * np.cos(angle)
    basis[2::2] = (2 / p) ** 0.5 * np.sin(angle)
    return basis


def diagonal_periodicity(values: Array) -> Periodicity:
    """Periodicity of the main diagonal of a surface [p, p].

    Largest FFT power over bins 1..(p-1)//2 divided by the total over all p bins, the constant
    and the mirror images included: at most 0.5. A dead neuron gives 0. On the diagonal a
    frequency-k neuron shows bin k, and more weakly the bin of 2k mod p.
    """
    power = np.abs(np.fft.fft(_unit_scale(np.diagonal(values)))) ** 2  # [p]
    bins = power[1 : (len(power) - 1) // 2 + 1]
    if bins.size == 0 or not bins.max() > _ROUNDING * power.sum():
        return Periodicity(None, 0.0)
    return Periodicity(int(bins.argmax()) + 1, float(bins.max() / power.sum()))


def frequency_shares(values: Array) -> Array | None:
    """Share of the variance of a surface [p, p] in each single frequency, [(p-1)/2].

    Frequency k's share is its 3x3 block of products of (1, cos w_k x, sin w_k x) and
    (1, cos w_k y, sin w_k y), the constant term left out. Products of two different
    frequencies belong to none, so the shares sum to at most 1. None for even p, p < 3, and a
    surface without variance. By FFT, whose rounding does not depend on threads.
    """
    p = len(values)
    if p < 3 or p % 2 == 0:
        return None
    centred = _unit_scale(values)
    centred = centred - centred.mean()
    if not np.ptp(centred) > _ROUNDING:
        return None
    power = np.square(np.abs(np.fft.rfft2(centred)))  # [p, (p+1)/2], of exp(i w_j x) exp(i w_l y)
    power[:, 1:] *= 2  # (-j, -l), which is left out, has as much as (j, l)
    k = np.array(frequencies(p))
    blocks = power[k, 0] + power[-k, 0] + power[0, k] + power[k, k] + power[-k, k]
    shares: Array = blocks / power.sum()
    return shares


def strongest_wave(values: Array) -> Wave | None:
    """The frequency with the largest share of a surface's variance, and that share."""
    shares = frequency_shares(values)
    if shares is None:
        return None
    return Wave(int(shares.argmax()) + 1, float(shares.max()))


def wave_order(p: int, frequency: int, waves: int = 4) -> Permutation | None:
    """The operand order i -> waves * i / frequency mod p, in which that frequency becomes `waves`.

    cos(2 pi frequency order[i] / p) = cos(2 pi waves i / p): the same numbers, listed so that
    the eye sees a plain wave of few periods. An exact permutation of 0..p-1, int64 [p]; None
    where there is none (frequency or waves shares a factor with p; for prime p always exists).
    """
    if math.gcd(frequency, p) != 1 or math.gcd(waves, p) != 1:
        return None
    step = waves * pow(frequency, -1, p) % p
    return np.arange(p, dtype=np.int64) * step % p


def _unit_scale(values: Array) -> Array:
    """The values divided by the largest magnitude, so that squares neither overflow nor vanish."""
    peak = np.abs(values).max()
    return values / peak if peak > 0 else values
