"""Spectra of the weights and of the logits: how much of each block of the task's basis the model uses.

A block is a frequency, or an irrep (see fourier.py); blocks are numbered from 1. A spectrum is taken
across elements of the group: the operands of W_E (the `=` token left out) or the classes of W_L. What
is no element (0 in multiplication) is left out before anything is projected or normalised.

The logits enter through S [n, n]: S[s, c] is the mean of the logit of element c over the n questions
whose answer is s. A projection onto any function of the answer needs nothing else.
Source: Nanda et al. (2023), arXiv 2301.05217, sections 4 and 5.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grokking.fourier import Array, Basis
from grokking.task import Task

KEY_SHARE = 0.25  # of the largest norm in W_L: what a block must exceed to be key
FEW = 0.25  # of all frequencies: key ones that are more than this are not said to be a few
FEW_IRREPS = 1 / 3  # the same of irreps, of which there are only six


def component_norms(rows: NDArray[Any], basis: Basis) -> Array:
    """Norm of each component of the basis, [n], of `rows` [n, m], a function of the element.

    The transform runs in the precision of `rows`, the sums of squares in float64. Component 0 is the
    constant.
    """
    components = basis.cast(rows.dtype) @ rows
    norms: Array = np.sqrt(np.square(components, dtype=np.float64).sum(axis=1))
    return norms


def block_norms(components: Array, basis: Basis) -> Array:
    """Norm of each block, [blocks], from component norms [n]."""
    norms: Array = np.sqrt(basis.by_block(np.square(components)))
    return norms


def strengths(norms: Array, basis: Basis) -> Array:
    """Norms of blocks of unlike sizes made comparable: over the root of the block's size."""
    comparable: Array = norms / np.sqrt(basis.counts)
    return comparable


def key_blocks(norms: Array, basis: Basis) -> list[int]:
    """Blocks whose strength in W_L exceeds a quarter of the largest; empty if all are 0 or NaN."""
    strength = strengths(norms, basis)
    return [int(i) + 1 for i in np.flatnonzero(strength > KEY_SHARE * strength.max(initial=0))]


def few_blocks(task: Task) -> int:
    """How many of the blocks of a task's basis are a few."""
    irreps = task.group is not None and task.group.basis.kind == "irrep"
    return int((FEW_IRREPS if irreps else FEW) * task.blocks)


def are_few(keys: Sequence[int], task: Task) -> bool:
    """Does the key rule single out a few of the blocks? At random weights nearly all are key."""
    return 0 < len(keys) <= few_blocks(task)


def project(rows: Array, chosen: Sequence[int], basis: Basis) -> Array:
    """The part of `rows` [n, m], a function of the element, in the chosen blocks: [n, m]."""
    directions = basis.cast(rows.dtype)[basis.rows(chosen)]  # [of all blocks, n], orthonormal
    projection: Array = directions.T @ (directions @ rows)
    return projection


def amplitudes(class_means: Array, basis: Basis) -> Array:
    """Amplitude of each block in the logits, [blocks], by least squares.

    Of cos(w_k (s - c)) for a frequency, of the character chi(s c^-1) for an irrep: with K_B(s, c) the sum of
    f(s) f(c) over the block's functions, <S, K_B> / <K_B, K_B> times 2 / n or d / n. These functions
    are orthogonal, so each amplitude stands alone. Signed, in units of a logit.
    """
    functions = basis.cast(class_means.dtype)
    with_itself = np.einsum("fs,fs->f", functions @ class_means, functions)  # [n], per component
    return basis.by_block(with_itself) / basis.counts * basis.scales


def basis_gini(components: Array, basis: Basis) -> float:
    """Gini coefficient of the components for frequencies, of the strengths of blocks for irreps."""
    if basis.kind == "frequency":
        return gini(components)
    return gini(strengths(block_norms(components, basis), basis))


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


def restricted_loss(class_means: Array, chosen: Sequence[int], basis: Basis) -> float:
    """Loss over all questions of the logits' part in the chosen blocks of the answer.

    Kept are the projections on every chosen block's functions of the answer and the mean of each
    logit over all questions. That depends on the answer alone, so n rows stand for n * n questions.
    """
    kept = project(class_means, chosen, basis) + class_means.mean(axis=0)
    return float(mean_cross_entropy(kept, np.arange(len(kept))).mean())


def surface_shares(surfaces: NDArray[np.float32], basis: Basis) -> NDArray[np.float32]:
    """fourier.block_shares of many surfaces over the group [n, n, m] at once, in float32: [blocks, m].

    A surface without variance has shares of 0.
    """
    n, _, m = surfaces.shape
    functions = basis.cast(surfaces.dtype)
    _, exponents = np.frexp(np.abs(surfaces).max(axis=(0, 1)))  # powers of two: no bit is lost
    surfaces = surfaces * np.ldexp(np.float32(1), -exponents.clip(-120, 120))
    centred = surfaces - surfaces[0, 0]  # any constant will do: only the constant component changes
    along_a = (functions @ centred.reshape(n, n * m)).reshape(n, n, m)  # [component of a, b, m]
    constant = np.einsum("b,bm->m", functions[0], along_a[0], dtype=np.float64)
    power = np.empty((len(basis.sizes), m), np.float32)
    for number, block in enumerate(basis.blocks):
        waves = functions[block]
        both = np.concatenate([functions[:1], waves]) @ along_a[block]  # [of a, of b, m]
        alone = waves @ along_a[0]  # constant in a
        power[number] = np.square(both).sum(axis=(0, 1)) + np.square(alone).sum(axis=0)
    variance = np.einsum("abm,abm->bm", centred, centred).sum(axis=0, dtype=np.float64)
    variance -= np.square(constant)
    shares: NDArray[np.float32] = np.divide(
        power, variance, out=np.zeros_like(power), where=variance > 0
    )
    return shares
