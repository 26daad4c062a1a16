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

import numpy as np

from grokking.fourier import Array, fourier_basis

KEY_SHARE = 0.25  # of the largest norm in W_L: what a frequency must exceed to be a key frequency


@lru_cache(maxsize=8)
def _basis(p: int) -> Array:
    return fourier_basis(p)


def has_spectrum(p: int) -> bool:
    """Do Fourier measures exist for this modulus?"""
    return p >= 3 and p % 2 == 1


def component_norms(rows: Array) -> Array:
    """Norm of each Fourier component, [p], of `rows` [p, n], a function of the residue.

    Component 0 is the constant, 2k - 1 and 2k are cos and sin of frequency k.
    """
    norms: Array = np.linalg.norm(_basis(len(rows)) @ rows, axis=1)
    return norms


def frequency_norms(components: Array) -> Array:
    """Norm of each frequency, cos and sin together, [(p-1)/2], from component norms [p]."""
    norms: Array = np.hypot(components[1::2], components[2::2])
    return norms


def key_frequencies(norms: Array) -> list[int]:
    """Frequencies whose norm in W_L exceeds a quarter of the largest; empty if all are 0 or NaN."""
    return [int(i) + 1 for i in np.flatnonzero(norms > KEY_SHARE * norms.max())]


def directions(p: int, chosen: Sequence[int]) -> Array:
    """Orthonormal rows cos and sin of the chosen frequencies over Z_p, [2 n, p]."""
    return _basis(p)[[row for k in chosen for row in (2 * k - 1, 2 * k)]]


def project(rows: Array, chosen: Sequence[int]) -> Array:
    """The part of `rows` [p, n], a function of the residue, at the chosen frequencies: [p, n]."""
    basis = directions(len(rows), chosen)
    projection: Array = basis.T @ (basis @ rows)
    return projection


def cosine_amplitudes(class_means: Array) -> Array:
    """Amplitude of cos(w_k (a + b - c)) in the logits, [(p-1)/2], by least squares.

    (2 / p^2) sum_{s,c} S[s, c] cos(w_k (s - c)); these functions are orthogonal, so each amplitude
    stands alone. Signed, in units of a logit.
    """
    p = len(class_means)
    basis = _basis(p)
    diagonal = np.einsum("ks,ks->k", basis @ class_means, basis)  # [p], component with itself
    amplitudes: Array = (diagonal[1::2] + diagonal[2::2]) / p
    return amplitudes


def gini(values: Array) -> float:
    """Gini coefficient of non-negative values [n]: 0 if all are equal, (n-1)/n if only one is not 0.

    Sum of |x_i - x_j| over all ordered pairs, divided by 2 n sum(x). NaN if all are 0.
    """
    ordered = np.sort(values)
    n, total = len(ordered), ordered.sum()
    if not total > 0:
        return float("nan")
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))


def cross_entropy(logits: Array, targets: np.ndarray) -> Array:
    """Loss of each row in nats, [n], from logits [n, c] and classes [n]: grokking/loss.py in numpy."""
    index = np.arange(len(logits)), targets
    peak = logits.max(axis=1)
    others = np.exp(logits - peak[:, None])
    others[index] = 0
    gap = logits[index] - peak
    losses: Array = -gap + np.log1p(others.sum(axis=1) + np.expm1(gap))
    return losses


def restricted_loss(class_means: Array, chosen: Sequence[int]) -> float:
    """Loss over all p * p pairs of the logits' part at the chosen frequencies of a + b.

    Kept are the projections on cos and sin(w_k (a + b)) of every chosen k and the mean of each
    logit over all pairs. That depends on a + b alone, so p rows stand for p * p pairs.
    """
    kept = project(class_means, chosen) + class_means.mean(axis=0)
    return float(cross_entropy(kept, np.arange(len(kept))).mean())
