"""Cases of trained weights: memorised pairs, whose gradients ask more of the logits than random ones.

tests/trained/record.py says what the recorded states are.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from grokking.model.fold import fold_parameters
from grokking.model.parameters import Parameters
from grokking.model.tables import Tables
from tests.support.accuracy import UNIT, assert_as_good_as_pytorch
from tests.support.addition import targets
from tests.support.kernel_cases import (
    PLAIN,
    Case,
    Computed,
    assert_gradients_as_good_as_pytorch,
    compute,
)

FOLDER = Path(__file__).parents[1] / "trained"


class Trained(NamedTuple):
    """The weights of a recorded state, its training pairs and their targets."""

    weights: Parameters
    pairs: Tensor
    targets: Tensor


@cache
def trained_weights() -> dict[str, Trained]:
    """Every recorded state by name, ascending by weight decay and epoch."""
    states = {}
    for path in sorted(FOLDER.glob("weight_decay_*.npz")):
        arrays = dict(np.load(path))
        pairs = torch.from_numpy(arrays.pop("pairs").astype(np.int64))
        for epoch in sorted({int(name.split()[0]) for name in arrays}):
            recorded = (arrays[f"{epoch} {name}"] for name in Parameters._fields)
            weights = (torch.from_numpy(array.astype(np.float32)) for array in recorded)
            parameters = Parameters(*(weight.requires_grad_() for weight in weights))
            goal = targets(parameters.sizes[0])[pairs]
            states[f"{path.stem}_epoch_{epoch}"] = Trained(parameters, pairs, goal)
    return states


@cache
def trained_cases() -> dict[str, Case]:
    """The folded tables of every recorded state, and its training pairs."""
    cases = {}
    for name, state in trained_weights().items():
        tables = (table.detach().contiguous() for table in fold_parameters(state.weights))
        cases[name] = Case(Tables(*tables), state.pairs, state.targets)
    return cases


def assert_trained_as_good_as_pytorch(
    compute_with: Callable[[Case], Computed], surfaces_of: Callable[[Case], Tensor]
) -> int:
    """The rule of kernel_cases on every recorded state, whose rounding switches so many hidden units.

    The pairs of those are left out of their state's gradients: a unit that is on in one and off in the
    other adds another number to them, not a rounding.
    """
    units, losses = 0, []  # a state's loss is one number, those of all are a sample
    for name, case in trained_cases().items():
        exact, baseline = compute(case, PLAIN, torch.float64), compute(case, PLAIN)
        actual = compute_with(case)
        assert actual.correct == exact.correct
        found = [actual.loss, baseline.loss, exact.loss]
        losses.append(torch.tensor(found, dtype=torch.float64) / exact.loss)
        assert_as_good_as_pytorch(f"{name} logits", actual.logits, baseline.logits, exact.logits)

        switched = switched_units(case, surfaces_of(case))
        if switched.any():
            units += int(switched.sum())
            rest = case.without(switched.any(1))
            exact, baseline = compute(rest, PLAIN, torch.float64), compute(rest, PLAIN)
            actual = compute_with(rest)
        assert_gradients_as_good_as_pytorch(
            *(with_joined_scores(found.gradients) for found in (actual, baseline, exact))
        )
    assert_as_good_as_pytorch("losses", *torch.stack(losses, dim=1))
    return units


def with_joined_scores(gradients: Tables) -> Tables:
    """s2's few numbers are no sample of an error: they are judged with those of s0 and s1."""
    scores = torch.cat([gradients.s0.flatten(), gradients.s1.flatten(), gradients.s2])
    return gradients._replace(s0=scores, s1=scores, s2=scores)


def switched_units(case: Case, surfaces: Tensor) -> Tensor:
    """bool [n, d_mlp]: units on in float64 and off in these surfaces or PyTorch's, or vice versa.

    AssertionError where rounding does not explain it.
    """
    pre, terms = pre_activations(Tables(*(table.double() for table in case.tables)), case.pairs)
    plain = PLAIN.activations(case.tables, torch.arange(pre.shape[1]))
    on = [of_all.flatten(0, 1)[case.pairs] > 0 for of_all in (surfaces, plain)]
    switched = (on[0] != (pre > 0)) | (on[1] != (pre > 0))
    # Every term is rounded once, every partial sum of them once, and attention's weights, which
    # enter each, some times more.
    roundings = 2 * (2 * case.tables.s0.shape[1] + 1) + 8
    assert (pre.abs() <= roundings * UNIT / 2 * terms)[switched].all()
    return switched


def pre_activations(tables: Tables, pairs: Tensor) -> tuple[Tensor, Tensor]:
    """(pre, the sum of the sizes of its terms), [n, d_mlp] each."""
    p = len(tables.s0)
    a, b = pairs // p, pairs % p
    scores = torch.stack([tables.s0[a], tables.s1[b], tables.s2.expand(len(pairs), -1)])
    alpha = scores.softmax(dim=0)[..., None]  # [3, n, H, 1]
    bias = tables.pre_bias.expand(len(pairs), 1, -1)
    terms = torch.cat([bias, alpha[0] * tables.A[a], alpha[1] * tables.B[b]], dim=1)
    return terms.sum(1), terms.abs().sum(1)
