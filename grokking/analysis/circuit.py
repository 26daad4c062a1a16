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
from grokking.analysis.spectra import amplitudes, mean_cross_entropy, project
from grokking.fourier import Array


class DirectionFit(NamedTuple):
    """How well a block's functions of the answer explain what W_L reads along one of them."""

    frequency: int  # the block
    function: int  # which of it: 0 is cos (u_k), 1 is sin (v_k)
    explained: float  # share of the variance over all questions


class Ablation(NamedTuple):
    """Loss over all questions with the MLP's output confined to the key directions, and to the rest."""

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


def output_residuals(state: Examined, keys: Sequence[int]) -> Residuals:
    """What W_L holds outside the key blocks of c, and outside as many of its own strongest directions."""
    W_L = state.output.astype(np.float64)  # [n, d_mlp]
    strengths = np.linalg.svd(W_L, compute_uv=False)
    norm = np.linalg.norm(strengths)
    return Residuals(
        float(np.linalg.norm(W_L - project(W_L, keys, state.basis)) / norm),
        float(np.linalg.norm(strengths[len(state.basis.rows(keys)) :]) / norm),
    )


def direction_fits(state: Examined, keys: Sequence[int]) -> list[DirectionFit]:
    """Fits of the MLP's output along W_L f for each function f of the key blocks: u_k, v_k.

    g(a, b) = post(a, b) . (W_L f), over all questions, is fitted by a constant and the block's
    functions of the answer; of a pair, as in the paper, by f alone. Explained: 1 - variance of the
    residual / variance of g.
    """
    basis, rows = state.basis, state.basis.rows(keys)
    directions = state.output.T @ basis.cast(np.dtype(np.float32))[rows].T  # [d_mlp, functions]
    post = state.surfaces().reshape(state.modulus**2, -1)[state.task.questions]
    along = (torch.from_numpy(post) @ torch.from_numpy(directions)).double().numpy()
    along -= along.mean(axis=0)  # [q, functions]
    # each answer has as many questions, so the functions of the answer are orthogonal over them too
    fitted = basis.functions[:, state.elements] @ along / np.sqrt(basis.order)  # [n, functions]
    total = np.square(along).sum(axis=0)
    fits, column = [], 0
    for key in keys:
        block = basis.blocks[key - 1]
        for function in range(basis.sizes[key - 1]):
            own = block.start + function
            by = slice(own, own + 1) if basis.sizes[key - 1] == 2 else block
            explained = np.square(fitted[by, column]).sum() / total[column]
            fits.append(DirectionFit(key, function, float(explained)))
            column += 1
    return fits


def cosines_explain(state: Examined, keys: Sequence[int]) -> float:
    """Share of the logits' variance that the best sum of cos(w_k (s - c)), or of irreps, explains.

    Over the logits of all questions and answers, each question's mean logit removed, which the softmax
    does not see. The kernels K_B are orthogonal, so the shares of the blocks add up.
    """
    basis, chosen = state.basis, np.array(keys, dtype=int) - 1
    fitted = (amplitudes(state.class_means, basis) / basis.scales)[chosen]  # of K_B
    explained = np.square(fitted) @ basis.counts[chosen] * basis.order
    logits = state.logits[:, state.group.class_order].astype(np.float64)
    logits -= logits.mean(axis=1, keepdims=True)
    return float(explained / np.square(logits).sum())


def key_span(state: Examined, keys: Sequence[int]) -> Array:
    """An orthonormal basis of the span of W_L's key directions in R^d_mlp, [d_mlp, of all blocks]."""
    functions = state.basis.functions[state.basis.rows(keys)]
    span, _ = np.linalg.qr(state.output.T.astype(np.float64) @ functions.T)
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
    """Loss over all questions with another W_L in the place of the model's.

    A class that is no element has no logit in it, as in the restricted loss beside which it stands.
    """
    tables = state.tables._replace(W_L=torch.from_numpy(W_L).float().contiguous())
    pairs, goal = torch.from_numpy(state.task.questions), torch.from_numpy(state.targets)
    if state.group.is_natural:
        return state.backend.evaluate(tables, pairs, goal).loss
    logits = state.backend.evaluate(tables, pairs, goal, logits=True).logits
    assert logits is not None
    by_element = logits.numpy()[:, state.group.class_order]
    return float(mean_cross_entropy(by_element, state.elements).mean(dtype=np.float64))
