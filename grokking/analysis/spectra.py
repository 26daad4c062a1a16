"""Fourier spectra of the weights and of the logits: how much of each frequency the model uses.

A spectrum is taken across residues: the p operand tokens of W_E (the `=` token left out) or the p
classes of W_L. Frequencies k and p - k are one (see fourier.py), so spectra have (p-1)/2 entries,
entry k - 1 for frequency k. Odd p >= 3 only.

The logits enter through S [p, p]: S[s, c] is the mean of logit c over the p pairs with
a + b = s mod p. A projection onto any function of a + b needs nothing else.
Source: Nanda et al. (2023), arXiv 2301.05217, sections 4 and 5.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokking.fourier import Array, fourier_basis

KEY_SHARE = 0.25  # of the largest norm in W_L: what a frequency must exceed to be a key frequency
FEW = 0.25  # of all frequencies: key frequencies that are more than this are not said to be a few


@lru_cache(maxsize=8)
def _basis(p: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    return fourier_basis(p).astype(dtype)


def has_spectrum(p: int) -> bool:
    """Do Fourier measures exist for this modulus?"""
    return p >= 3 and p % 2 == 1


def component_norms(rows: NDArray[Any]) -> Array:
    """Norm of each Fourier component, [p], of `rows` [p, n], a function of the residue.

    The transform runs in the precision of `rows`, the sums of squares in float64. Component 0 is
    the constant, 2k - 1 and 2k are cos and sin of frequency k.
    """
    components = _basis(len(rows), rows.dtype) @ rows
    norms: Array = np.sqrt(np.square(components, dtype=np.float64).sum(axis=1))
    return norms


def frequency_norms(components: Array) -> Array:
    """Norm of each frequency, cos and sin together, [(p-1)/2], from component norms [p]."""
    norms: Array = np.hypot(components[1::2], components[2::2])
    return norms


def key_frequencies(norms: Array) -> list[int]:
    """Frequencies whose norm in W_L exceeds a quarter of the largest; empty if all are 0 or NaN."""
    return [int(i) + 1 for i in np.flatnonzero(norms > KEY_SHARE * norms.max())]


def are_few(keys: Sequence[int], p: int) -> bool:
    """Does the key rule single out a few of the frequencies? At random weights nearly all are key."""
    return 0 < len(keys) <= FEW * ((p - 1) // 2)


def project(rows: Array, chosen: Sequence[int]) -> Array:
    """The part of `rows` [p, n], a function of the residue, at the chosen frequencies: [p, n]."""
    components = [component for k in chosen for component in (2 * k - 1, 2 * k)]
    directions = _basis(len(rows), rows.dtype)[components]  # [2 n_chosen, p], orthonormal
    projection: Array = directions.T @ (directions @ rows)
    return projection


def cosine_amplitudes(class_means: Array) -> Array:
    """Amplitude of cos(w_k (a + b - c)) in the logits, [(p-1)/2], by least squares.

    (2 / p^2) sum_{s,c} S[s, c] cos(w_k (s - c)); these functions are orthogonal, so each amplitude
    stands alone. Signed, in units of a logit.
    """
    p, basis = len(class_means), _basis(len(class_means), class_means.dtype)
    with_itself = np.einsum("ks,ks->k", basis @ class_means, basis)  # [p], per component
    amplitudes: Array = (with_itself[1::2] + with_itself[2::2]) / p
    return amplitudes


def gini(values: Array) -> float:
    """Gini coefficient of non-negative values [n]: 0 if all are equal, (n-1)/n if only one is > 0.

    Sum of |x_i - x_j| over all ordered pairs, divided by 2 n sum(x). NaN if all are 0.
    """
    ordered = np.sort(values)
    n, total = len(ordered), ordered.sum()
    if not total > 0:
        return float("nan")
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))


def mean_cross_entropy(logits: NDArray[Any], targets: NDArray[np.int64]) -> NDArray[Any]:
    """Loss of each row in nats, [n], from logits [n, c] and classes [n]: grokking/model/loss.py in numpy.

    In the precision of the logits; float32 holds 1e-30 as there.
    """
    index = np.arange(len(logits)), targets
    peak = logits.max(axis=1)
    others = np.exp(logits - peak[:, None])
    others[index] = 0
    gap = logits[index] - peak
    losses: NDArray[Any] = -gap + np.log1p(others.sum(axis=1) + np.expm1(gap))
    return losses


def restricted_loss(class_means: Array, chosen: Sequence[int]) -> float:
    """Loss over all p * p pairs of the logits' part at the chosen frequencies of a + b.

    Kept are the projections on cos and sin(w_k (a + b)) of every chosen k and the mean of each
    logit over all pairs. That depends on a + b alone, so p rows stand for p * p pairs.
    """
    kept = project(class_means, chosen) + class_means.mean(axis=0)
    return float(mean_cross_entropy(kept, np.arange(len(kept))).mean())


def surface_shares(surfaces: NDArray[np.float32]) -> NDArray[np.float32]:
    """fourier.frequency_shares of many surfaces [p, p, n] at once, in float32: [(p-1)/2, n].

    A surface without variance has shares of 0.
    """
    p, _, n = surfaces.shape
    basis = _basis(p, surfaces.dtype)
    _, exponents = np.frexp(np.abs(surfaces).max(axis=(0, 1)))  # powers of two: no bit is lost
    surfaces = surfaces * np.ldexp(np.float32(1), -exponents.clip(-120, 120))
    centred = surfaces - surfaces[0, 0]  # any constant will do: only the constant component changes
    along_a = (basis @ centred.reshape(p, p * n)).reshape(p, p, n)  # [component of a, b, n]
    constant_in_a = basis @ along_a[0]  # [component of b, n]
    constant = np.broadcast_to(basis[0], (len(basis) // 2, p))
    waves = np.stack([constant, basis[1::2], basis[2::2]], axis=1)  # [(p-1)/2, 3, p]
    products = waves[:, None] @ along_a[1:].reshape(-1, 2, p, n)  # [(p-1)/2, of a, of b, n]
    power = np.square(products).sum(axis=(1, 2))
    power += np.square(constant_in_a[1:]).reshape(-1, 2, n).sum(axis=1)
    variance = np.einsum("abn,abn->bn", centred, centred).sum(axis=0, dtype=np.float64)
    variance -= np.square(constant_in_a[0], dtype=np.float64)
    shares: NDArray[np.float32] = np.divide(
        power, variance, out=np.zeros_like(power), where=variance > 0
    )
    return shares
