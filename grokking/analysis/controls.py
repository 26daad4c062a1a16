"""Controls: what the card measures of the key frequencies, measured of as many that are not key.

An ablation shows something only if another one, as large, looks different. Every control is drawn
DRAWS times from a seeded generator, so that a card is written the same way twice.
"""

import math
import random
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from grokking.analysis.circuit import ablate, key_span, output_residuals
from grokking.analysis.hindsight import Examined
from grokking.analysis.spectra import block_norms, component_norms, key_blocks
from grokking.fourier import PERIODIC, Array, Basis

DRAWS, SEED = 20, 0


class Control(NamedTuple):
    """The same measure of other draws; `values` is empty where too few are left to draw from."""

    of: str  # what was drawn, in words
    values: list[float]

    @property
    def told(self) -> str:
        """In words: 5 frequencies that are not key, 20 draws: median 8.1 (6.2 to 9.4)."""
        if not self.values:
            return f"{self.of}: too few to draw from"
        low, middle, high = min(self.values), median(self.values), max(self.values)
        return f"{self.of}, {len(self.values)} draws: median {middle:.3g} ({low:.3g} to {high:.3g})"

    def record(self) -> dict[str, object]:
        """As report_card.json has it."""
        if not self.values:
            return {"of": self.of, "draws": 0, "median": None, "range": None}
        low, high = min(self.values), max(self.values)
        return {
            "of": self.of,
            "draws": len(self.values),
            "median": median(self.values),
            "range": [low, high],
        }


class Controls(NamedTuple):
    """One for each claim of the card that has a control."""

    key_count: Control
    periodic_share: Control
    residual: Control
    restricted_loss: Control
    on_directions: Control
    on_null_space: Control
    excluded_loss: Control


def draw_controls(state: Examined, keys: Sequence[int]) -> Controls:
    """All controls of a state with these key blocks."""
    basis = state.basis
    sets = other_blocks(len(basis.sizes), keys)
    ablations = [ablate(state, span) for span in other_spans(key_span(state, keys))]
    others = f"{len(keys)} {basis.plural} that are not key"
    directions = f"{len(basis.rows(keys))} random directions at right angles to the key ones"
    return Controls(
        Control("W_L with its classes in random order", _keys_of_shuffled(state)),
        Control(f"{state.tables.W_L.shape[0]} random directions", _random_directions(state)),
        Control(others, [output_residuals(state, chosen).on_waves_squared for chosen in sets]),
        Control(others, [state.restricted_loss(chosen) for chosen in sets]),
        Control(directions, [ablation.on_key_directions for ablation in ablations]),
        Control(directions, [ablation.on_null_space for ablation in ablations]),
        Control(others, [state.excluded_loss(chosen) for chosen in sets]),
    )


def other_blocks(count: int, keys: Sequence[int]) -> list[list[int]]:
    """DRAWS sets of as many of the blocks 1..count as are key, none of them key.

    Empty where fewer than DRAWS such sets exist.
    """
    rest = [k for k in range(1, count + 1) if k not in keys]
    if not keys or math.comb(len(rest), len(keys)) < DRAWS:
        return []
    generator = random.Random(SEED)
    return [sorted(generator.sample(rest, len(keys))) for _ in range(DRAWS)]


def other_spans(span: Array) -> list[Array]:
    """DRAWS random spans as large as `span` [d, n] in its complement; empty if that is too small.

    The directions of other frequencies would be no control: W_L's small parts at those read the
    neurons along nearly the same directions as the key ones.
    """
    d, n = span.shape
    if n == 0 or d - n <= n:
        return []
    generator = np.random.default_rng(SEED)
    spans = []
    for _ in range(DRAWS):
        drawn = generator.standard_normal((d, n))
        spans.append(np.linalg.qr(drawn - span @ (span.T @ drawn))[0])
    return spans


def _keys_of_shuffled(state: Examined) -> list[float]:
    """How many blocks the key rule finds where there is no order of the classes."""
    by_class, basis = state.output, state.basis  # [n, d_mlp]
    generator = np.random.default_rng(SEED)
    shuffled = (by_class[generator.permutation(len(by_class))] for _ in range(DRAWS))
    return [
        float(len(key_blocks(block_norms(component_norms(classes, basis), basis), basis)))
        for classes in shuffled
    ]


def _random_directions(state: Examined) -> list[float]:
    """Share of random directions of R^d_mlp along which post is as periodic as a periodic neuron.

    A direction's surface is a mixture of the neurons', and so are its components.
    """
    basis = state.basis
    components = surface_components(state.grids().astype(np.float64), basis)  # [n, n, d_mlp]
    n, _, d_mlp = components.shape
    components[0, 0] = 0  # the constant
    flat = components.reshape(n * n, d_mlp)
    covariance = flat.T @ flat  # [d_mlp, d_mlp]
    rows = [np.r_[0, basis.rows([k])] for k in range(1, len(basis.sizes) + 1)]
    blocks = [components[np.ix_(of, of)].reshape(-1, d_mlp) for of in rows]
    generator = np.random.default_rng(SEED)
    shares = []
    for _ in range(DRAWS):
        directions = generator.standard_normal((d_mlp, d_mlp))
        power = np.stack([np.square(block @ directions).sum(axis=0) for block in blocks])
        variance = np.einsum("nm,nm->m", covariance @ directions, directions)
        periodic = power.max(axis=0) > PERIODIC * variance
        shares.append(float((periodic & (variance > 0)).mean()))
    return shares


def surface_components(grids: Array, basis: Basis) -> Array:
    """Orthonormal components of surfaces over the group [n, n, m] along both operands, [n, n, m]."""
    n, _, m = grids.shape
    along_a = (basis.functions @ grids.reshape(n, n * m)).reshape(n, n, m)
    components: Array = np.matmul(basis.functions, along_a)
    return components
