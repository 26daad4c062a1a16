"""Tables and pairs on which the kernels are compared with plain PyTorch."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from grokking.kernels.backend import Backend
from grokking.kernels.reference import Reference, forward
from grokking.model.loss import cross_entropy
from grokking.model.tables import Tables
from tests.support.accuracy import assert_as_good_as_pytorch

PLAIN = Reference()


class Case(NamedTuple):
    """Folded tables, some pairs, and a target for each."""

    tables: Tables
    pairs: Tensor
    targets: Tensor

    def without(self, left_out: Tensor) -> "Case":
        """The same but for the pairs of a mask [n]."""
        return Case(self.tables, self.pairs[~left_out], self.targets[~left_out])


@cache
def make_case(p, heads, d_mlp, classes=None, density=0.7, spread=1.0, sharpness=1.0, seed=0):
    """Random float32 tables; `spread` scales attention scores, `sharpness` the logits.

    Half of the targets are what the tables answer, so that sharp logits give tiny losses.
    """
    generator = torch.Generator().manual_seed(seed)
    c = p if classes is None else classes

    def normal(*shape, scale=1.0):
        return torch.randn(*shape, generator=generator) * scale

    tables = Tables(
        s0=normal(p, heads, scale=spread),
        s1=normal(p, heads, scale=spread),
        s2=normal(heads, scale=spread),
        A=normal(p, heads, d_mlp),
        B=normal(p, heads, d_mlp),
        pre_bias=normal(d_mlp, scale=0.3),
        W_L=normal(d_mlp, c, scale=sharpness * d_mlp**-0.5),
        C=normal(p, heads, c, scale=sharpness),
        D=normal(p, heads, c, scale=sharpness),
        logit_bias=normal(c, scale=0.3 * sharpness),
    )
    count = max(1, round(density * p * p))
    pairs = torch.randperm(p * p, generator=generator)[:count].sort().values
    answers = forward(tables, pairs)[0].argmax(1)
    random = torch.randint(c, (count,), generator=generator)
    return Case(
        tables, pairs, torch.where(torch.rand(count, generator=generator) < 0.5, answers, random)
    )


@cache
def memorised_case(p=11, heads=3, d_mlp=67, classes=70, seed=0):
    """Random tables whose pairs are all answered, by far: most entries of g are negligible.

    Class 0 is e^-20 and more below the second best, and never so far that float32 could not tell.
    """
    case = make_case(p, heads, d_mlp, classes, 1.0, sharpness=20.0, seed=seed)
    tables = Tables(*(table.clone() for table in case.tables))
    for table in (tables.W_L, tables.C, tables.D):
        table[..., 0] = 0.0
    best, answers = forward(tables, case.pairs)[0][:, 1:].topk(2)
    tables.logit_bias[0] = best[:, 1].min() - 20.0
    return Case(tables, case.pairs, answers[:, 0] + 1)


class Computed(NamedTuple):
    """What a backend says about a case."""

    loss: float
    correct: int
    logits: Tensor
    class_sums: Tensor  # of the evaluation, of the training step: [2, c, c]
    gradients: Tables


def compute(case: Case, backend: Backend, dtype=torch.float32) -> Computed:
    """Everything a backend returns for a case, from tables in `dtype`."""
    tables = Tables(*(table.detach().to(dtype).requires_grad_() for table in case.tables))
    found = backend.evaluate(tables, case.pairs, case.targets, logits=True, class_sums=True)
    mean, step = backend.pair_loss(tables, case.pairs, case.targets, class_sums=True)
    gradients = Tables(*torch.autograd.grad(mean, list(tables)))
    sums = torch.stack([found.class_sums, step.class_sums])
    return Computed(found.loss, found.correct, found.logits, sums, gradients)


@cache
def references(case_arguments) -> tuple[Computed, Computed]:
    """(float64, float32) results of plain PyTorch for make_case(*case_arguments)."""
    case = make_case(*case_arguments)
    return compute(case, PLAIN, torch.float64), compute(case, PLAIN)


def assert_gradients_as_good_as_pytorch(actual: Tables, baseline: Tables, exact: Tables):
    """For every table; each is a difference of sums that are as large as the largest of them."""
    scale = max(float(gradient.abs().max()) for gradient in exact)
    for field, *gradients in zip(Tables._fields, actual, baseline, exact, strict=True):
        assert_as_good_as_pytorch(field, *gradients, scale=scale)


def exact_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Loss of each pair in float64 from the given logits."""
    return cross_entropy(logits.double(), targets)
