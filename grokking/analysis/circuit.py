"""How far a trained model is the paper's circuit: fits and ablations of one state.

The circuit: neurons hold cos and sin(w_k (a + b)) for a few key frequencies k, W_L reads them off
along as many directions, and the logits are a sum of cos(w_k (a + b - c)).
Source: Nanda et al. (2023), arXiv 2301.05217, section 4.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from grokking.analysis.hindsight import Examined
from grokking.analysis.spectra import cosine_amplitudes, project
from grokking.fourier import Array, fourier_basis


class DirectionFit(NamedTuple):
    """How well cos or sin(w_k (a + b)) explains what W_L reads along cos or sin(w_k c)."""

    frequency: int
    wave: str  # "cos" (u_k) or "sin" (v_k)
    explained: float  # share of the variance over all pairs


class Ablation(NamedTuple):
    """Loss over all pairs with the MLP's output confined to the key directions, and to the rest."""

    full: float
    on_key_directions: float
    on_null_space: float


class Residuals(NamedTuple):
    """What 2 n directions, n key frequencies, leave of W_L: three readings of the paper's figure."""

    on_waves: float  # norm of W_L minus its part at cos and sin(w_k c), over the norm of W_L
    best_rank: float  # norm of W_L minus the best approximation of rank 2 n, over the norm of W_L

    @property
    def on_waves_squared(self) -> float:
        """The first as a share of the squared norm."""
        return self.on_waves**2


def key_components(p: int, keys: Sequence[int]) -> Array:
    """Orthonormal rows cos and sin(w_k x) for each key frequency, [2 n, p]."""
    return fourier_basis(p)[[row for k in keys for row in (2 * k - 1, 2 * k)]]


def output_residuals(state: Examined, keys: Sequence[int]) -> Residuals:
    """What W_L holds outside the key frequencies of c, and outside its own 2 n strongest directions."""
    W_L = state.tables.W_L.double().numpy().T  # [p, d_mlp]
    strengths = np.linalg.svd(W_L, compute_uv=False)
    norm = np.linalg.norm(strengths)
    return Residuals(
        float(np.linalg.norm(W_L - project(W_L, keys)) / norm),
        float(np.linalg.norm(strengths[2 * len(keys) :]) / norm),
    )


def direction_fits(state: Examined, keys: Sequence[int]) -> list[DirectionFit]:
    """Fits of the MLP's output along u_k = W_L cos(w_k c) and v_k = W_L sin(w_k c).

    f(a, b) = post(a, b) . u_k is fitted by a multiple of cos(w_k (a + b)) and a constant; v_k's
    by sin. Explained: 1 - variance of the residual / variance of f.
    """
    p, waves = state.modulus, key_components(state.modulus, keys)  # [2 n, p]
    post = torch.from_numpy(state.surfaces()).reshape(p * p, -1)
    along = (post @ (state.tables.W_L @ torch.from_numpy(waves.T).float())).double().numpy()
    along -= along.mean(axis=0)  # [p * p, 2 n]
    fitted = np.einsum("xn,nx->n", along, waves[:, state.targets]) / np.sqrt(p)
    explained = fitted**2 / np.square(along).sum(axis=0)
    names = [(key, wave) for key in keys for wave in ("cos", "sin")]
    return [DirectionFit(*name, float(e)) for name, e in zip(names, explained, strict=True)]


def cosines_explain(state: Examined, keys: Sequence[int]) -> float:
    """Share of the logits' variance that the best sum of cos(w_k (a + b - c)) explains.

    Over all p^3 logits, each pair's mean logit removed, which the softmax does not see. The
    cosines are orthogonal and of squared norm p^3 / 2, so the shares of the frequencies add up.
    """
    p, chosen = state.modulus, np.array(keys, dtype=int) - 1
    amplitudes = cosine_amplitudes(state.class_means)[chosen]
    logits = state.logits.astype(np.float64)
    logits -= logits.mean(axis=1, keepdims=True)
    return float(np.square(amplitudes).sum() * p**3 / 2 / np.square(logits).sum())


def key_span(state: Examined, keys: Sequence[int]) -> Array:
    """An orthonormal basis of the span of all u_k and v_k in R^d_mlp, [d_mlp, 2 n]."""
    W_L = state.tables.W_L.double().numpy()
    span, _ = np.linalg.qr(W_L @ key_components(state.modulus, keys).T)
    return span


def ablate(state: Examined, span: Array) -> Ablation:
    """Loss when post reaches the logits along `span` only, and when in every other way.

    post is projected onto the orthonormal columns of `span` [d_mlp, n], or onto their complement;
    whatever reaches the logits past the MLP, and all biases, stay as they are.
    """
    W_L = state.tables.W_L.double().numpy()
    on = span @ (span.T @ W_L)
    return Ablation(_loss(state, W_L), _loss(state, on), _loss(state, W_L - on))


def _loss(state: Examined, W_L: NDArray[np.float64]) -> float:
    """Loss over all pairs with another W_L in the place of the model's."""
    tables = state.tables._replace(W_L=torch.from_numpy(W_L).float().contiguous())
    pairs, goal = torch.arange(state.modulus**2), torch.from_numpy(state.targets)
    return state.backend.evaluate(tables, pairs, goal).loss
