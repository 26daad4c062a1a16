"""The kernel's implementations against plain PyTorch: as accurate, and right at every edge."""

import math

import numpy as np
import pytest
import torch

from grokking.kernels.compiled import implementations
from grokking.kernels.cpu import Cpu, on_cpu
from grokking.model.tables import Tables, table_shapes
from grokking.model.transformer import Transformer, fold
from tests.support.accuracy import assert_as_good_as_pytorch
from tests.support.addition import generators, split_pairs, targets
from tests.support.environment import unavailable
from tests.support.kernel_cases import (
    PLAIN,
    Case,
    assert_gradients_as_good_as_pytorch,
    compute,
    exact_losses,
    make_case,
    memorised_case,
    references,
)
from tests.support.trained_cases import assert_trained_as_good_as_pytorch

every_implementation = pytest.mark.parametrize("name", implementations())

# p, H, d_mlp, classes, density, spread of scores, sharpness of logits
CASES = [
    (2, 1, 1),
    (3, 2, 5),
    (5, 3, 15, 5, 1.0),
    (16, 4, 16, 16, 0.5, 30.0),
    (17, 5, 33, 17, 0.7, 1.0, 20.0),
    (17, 6, 130, 9, 0.7, 1000.0),
    (31, 2, 31, 31, 0.5),
    (32, 1, 32, 32, 0.5),
    (33, 5, 33, 40, 0.5, 1.0, 20.0),
    (127, 2, 40, 127, 0.3),
    (128, 3, 65, 128, 0.1, 1.0, 20.0),
    (129, 2, 40, 7, 0.1),
    (113, 4, 512, 113, 0.3),
    (113, 4, 512, 113, 0.3, 3.0, 30.0),
]


def threads_for(arguments):
    """1, 2 or 3, so that every implementation meets each."""
    return 1 + CASES.index(arguments) % 3


@every_implementation
@pytest.mark.parametrize("arguments", CASES, ids=str)
def test_scores_logits_and_gradients_are_as_accurate_as_pytorchs(name, arguments):
    exact, baseline = references(arguments)
    actual = compute(make_case(*arguments), Cpu(name, threads_for(arguments)))
    assert actual.correct == exact.correct
    assert_as_good_as_pytorch("loss", actual.loss, baseline.loss, exact.loss)
    assert_as_good_as_pytorch("logits", actual.logits, baseline.logits, exact.logits)
    assert_as_good_as_pytorch("sums", actual.class_sums, baseline.class_sums, exact.class_sums)
    assert_gradients_as_good_as_pytorch(actual.gradients, baseline.gradients, exact.gradients)


@every_implementation
def test_on_trained_weights_gradients_are_as_accurate_as_pytorchs(name, record_property):
    """Memorised pairs: the rounding of a logit is the relative error of their gradients."""
    backend, neurons = Cpu(name, 2), torch.arange(512)
    units = assert_trained_as_good_as_pytorch(
        lambda case: compute(case, backend),
        lambda case: backend.activations(case.tables, neurons),
    )
    record_property("hidden units that rounding switches", units)
    assert units < 10  # of 2.3 million


@every_implementation
@pytest.mark.parametrize("threads", [1, 2, 3, 7, 300])  # the last exceeds the pairs
def test_every_number_of_threads_is_right(name, threads):
    exact, baseline = references((17, 3, 20))
    actual = compute(make_case(17, 3, 20), Cpu(name, threads))
    assert_as_good_as_pytorch("loss", actual.loss, baseline.loss, exact.loss)
    assert_gradients_as_good_as_pytorch(actual.gradients, baseline.gradients, exact.gradients)


@every_implementation
@pytest.mark.parametrize("width", [1, 3, 4, 5, 8, 9, 16, 17, 20, 21, 32, 47, 64, 65, 69, 80, 113])
def test_any_number_of_classes_and_hidden_units(name, width):
    for arguments in ((7, 2, 19, width), (7, 2, width, 6)):
        exact, baseline = references(arguments)
        actual = compute(make_case(*arguments), Cpu(name, 2))
        assert_as_good_as_pytorch("loss", actual.loss, baseline.loss, exact.loss)
        assert_as_good_as_pytorch("logits", actual.logits, baseline.logits, exact.logits)
        assert_gradients_as_good_as_pytorch(actual.gradients, baseline.gradients, exact.gradients)


@pytest.mark.parametrize("name", ["torch", *implementations()])
def test_class_sums_are_indexed_by_the_targets_that_are_given(name):
    """Whatever the task: here the targets are drawn by chance, and there are more classes than operands."""
    case = make_case(5, 2, 9, 11, 1.0)
    backend = PLAIN if name == "torch" else Cpu(name, 3)
    actual = compute(case, backend)
    expected = torch.zeros(11, 11, dtype=torch.float64)
    for target, row in zip(case.targets, actual.logits.double(), strict=True):
        expected[target] += row
    for sums in actual.class_sums:
        torch.testing.assert_close(sums, expected, rtol=1e-6, atol=1e-6)
    assert backend.evaluate(*case).class_sums is None


@pytest.mark.parametrize("name", ["torch", *implementations()])
def test_surfaces_go_where_they_are_wanted(name):
    tables, neurons, out = make_case(5, 2, 9).tables, torch.tensor([7, 0]), torch.empty(5, 5, 2)
    backend = PLAIN if name == "torch" else Cpu(name, 2)
    assert backend.activations(tables, neurons, out) is out
    assert torch.equal(out, backend.activations(tables, neurons))


def test_only_the_readable_loop_is_never_chosen_unasked():
    if not implementations():
        unavailable("the extension is not built")
    assert [one.name for one in on_cpu(1) if not one.automatic] == ["reference"]
    assert {one.precision for one in on_cpu(1)} == {"float32"}


def test_the_shapes_of_the_tables_are_in_the_order_of_their_fields():
    tables = make_case(5, 3, 7, 11).tables
    assert list(table_shapes(*tables.sizes)) == list(Tables._fields)
    assert list(table_shapes(5, 3, 7, 11).values()) == [tuple(table.shape) for table in tables]


@every_implementation
@pytest.mark.parametrize("size", [(2, 1, 3), (17, 5, 33), (31, 4, 64)], ids=str)
def test_surfaces_are_the_hidden_units_of_every_pair(name, size):
    tables = make_case(*size).tables
    d_mlp = size[2]
    for neurons in (torch.arange(d_mlp), torch.tensor([d_mlp - 1, 0, d_mlp // 2, 0])):
        exact = PLAIN.activations(Tables(*(t.double() for t in tables)), neurons)
        baseline = PLAIN.activations(tables, neurons)
        actual = Cpu(name, 3).activations(tables, neurons)
        assert actual.shape == (size[0], size[0], len(neurons))
        assert_as_good_as_pytorch("surfaces", actual, baseline, exact)


@every_implementation
def test_tiny_losses_keep_their_digits(name):
    """log_softmax in float32 is 0 below 6e-8; here losses down to 1e-28 must keep four digits."""
    p, gap = 8, torch.linspace(0, 64, 8)  # the logit of class 0 over the other two
    tables = Tables(*(torch.zeros_like(t) for t in make_case(p, 1, 4, 3).tables))
    tables.C[:, 0, 0] = 3 * gap  # alpha is 1/3 for equal scores
    for a in range(p):
        pairs, goal = torch.tensor([a * p]), torch.zeros(1, dtype=torch.int64)
        expected = math.log1p(2 * math.exp(-gap[a].item()))
        actual = Cpu(name, 1).evaluate(tables, pairs, goal).loss
        assert actual == pytest.approx(expected, rel=1e-4, abs=0)


@every_implementation
def test_the_training_step_and_the_evaluation_agree_to_the_last_bit(name):
    tables, pairs, goal = make_case(17, 5, 33)
    for threads in (1, 3):
        backend = Cpu(name, threads)
        mean, step = backend.pair_loss(tables, pairs, goal)
        evaluation = backend.evaluate(tables, pairs, goal)
        assert (step.loss, step.correct) == (evaluation.loss, evaluation.correct)
        assert mean.item() == np.float32(step.loss)


@every_implementation
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_reruns_are_identical_to_the_last_bit(name, threads):
    case, backend = make_case(17, 5, 33), Cpu(name, threads)
    first, second = compute(case, backend), compute(case, backend)
    assert first.loss == second.loss
    assert first.logits.numpy().tobytes() == second.logits.numpy().tobytes()
    assert first.class_sums.numpy().tobytes() == second.class_sums.numpy().tobytes()
    for one, other in zip(first.gradients, second.gradients, strict=True):
        assert one.numpy().tobytes() == other.numpy().tobytes()


@every_implementation
def test_logits_come_in_the_order_of_the_pairs(name):
    tables, pairs, goal = make_case(17, 2, 20)
    shuffled = torch.randperm(len(pairs), generator=generators(1)[0])
    backend = Cpu(name, 2)
    straight = backend.evaluate(tables, pairs, goal, logits=True)
    mixed = backend.evaluate(tables, pairs[shuffled], goal[shuffled], logits=True)
    torch.testing.assert_close(mixed.logits, straight.logits[shuffled], rtol=1e-5, atol=1e-5)
    assert mixed.correct == straight.correct


@every_implementation
def test_pairs_may_repeat(name):
    tables, pairs, goal = make_case(5, 2, 9)
    twice = Case(tables, pairs.repeat_interleave(2), goal.repeat_interleave(2))
    once, doubled = (compute(c, Cpu(name, 1)) for c in (Case(tables, pairs, goal), twice))
    assert doubled.correct == 2 * once.correct
    assert doubled.loss == pytest.approx(once.loss, rel=1e-6)
    for one, other in zip(once.gradients, doubled.gradients, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)


@every_implementation
def test_sliced_and_misaligned_tables_change_nothing(name):
    case = make_case(17, 3, 32)

    def sliced(table):
        wide = torch.full((*table.shape[:-1], table.shape[-1] + 3), math.nan)
        wide[..., 2:-1] = table
        return wide[..., 2:-1]

    def misaligned(table):  # dense, one float off every vector's boundary
        storage = torch.full((table.numel() + 1,), math.nan)
        storage[1:] = table.flatten()
        return storage[1:].view(table.shape)

    expected = compute(case, Cpu(name, 2))
    for move in (sliced, misaligned):
        actual = compute(case._replace(tables=Tables(*map(move, case.tables))), Cpu(name, 2))
        assert actual.loss == expected.loss
        assert torch.equal(actual.logits, expected.logits)
        for one, other in zip(actual.gradients, expected.gradients, strict=True):
            assert torch.equal(one, other)


@every_implementation
def test_scores_whose_weights_underflow(name):
    """Scores hundreds apart: the softmax must not divide 0 by 0, whichever token wins."""
    case = make_case(9, 3, 20)
    for winner in ("s0", "s1", "s2"):
        tables = case.tables._replace(**{winner: getattr(case.tables, winner) + 500.0})
        actual = compute(case._replace(tables=tables), Cpu(name, 2))
        exact = compute(case._replace(tables=tables), PLAIN, torch.float64)
        baseline = compute(case._replace(tables=tables), PLAIN)
        assert_as_good_as_pytorch("loss", actual.loss, baseline.loss, exact.loss)
        assert_gradients_as_good_as_pytorch(actual.gradients, baseline.gradients, exact.gradients)


def poisoned(tables, field, index, value):
    table = getattr(tables, field).clone()
    table[index] = value
    return tables._replace(**{field: table})


@every_implementation
@pytest.mark.parametrize("field", ["s0", "A", "C"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_spreads_as_far_as_in_pytorch(name, field, value):
    """One bad entry for operand a = 2 must show in those pairs, and in no other."""
    case = make_case(6, 2, 20, 6, 1.0)
    tables = poisoned(case.tables, field, (2, 0), value)
    backend = Cpu(name, 1)
    logits = backend.evaluate(tables, case.pairs, case.targets, logits=True).logits
    expected = PLAIN.evaluate(tables, case.pairs, case.targets, logits=True).logits
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4, equal_nan=True)
    for pair, goal, row in zip(case.pairs, case.targets, expected, strict=True):
        actual = backend.evaluate(tables, pair[None], goal[None])
        (loss,) = exact_losses(row[None], goal[None]).tolist()
        assert actual.loss == pytest.approx(loss, rel=1e-4, nan_ok=True)
        assert actual.correct == (not math.isnan(loss) and int(row.argmax()) == int(goal))


@every_implementation
def test_gradients_let_nan_through_and_keep_it_to_its_pairs(name):
    case = make_case(6, 2, 20, 6, 1.0)
    tables = poisoned(case.tables, "A", (2, 0, 7), math.nan)
    gradients = compute(case._replace(tables=tables), Cpu(name, 1)).gradients
    assert gradients.A[2].isnan().any() and gradients.C[2].isnan().any()
    assert gradients.W_L.isnan().any() and gradients.logit_bias.isnan().any()
    others = [a for a in range(6) if a != 2]
    assert gradients.A[others].isfinite().all() and gradients.C[others].isfinite().all()


@every_implementation
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [(11, 3, 67, 70), (5, 2, 19, 33), (13, 1, 130, 150)], ids=str)
def test_on_memorised_pairs_what_is_left_out_is_rounding(name, size, threads):
    case = memorised_case(*size)
    exact, baseline = compute(case, PLAIN, torch.float64), compute(case, PLAIN)
    actual = compute(case, Cpu(name, threads))
    assert actual.correct == len(case.pairs)
    # One pair's gradients are far the largest, and their relative error is that pair's rounding of a
    # logit: a single number, whose floor is a rounding of the logits' size.
    scale = exact.logits.abs().max() * max(gradient.abs().max() for gradient in exact.gradients)
    for field, *found in zip(
        Tables._fields, actual.gradients, baseline.gradients, exact.gradients, strict=True
    ):
        assert_as_good_as_pytorch(field, *found, scale=scale)
    kept = actual.gradients.W_L[:, 0].any()
    assert kept == (name == "reference"), "the tiles of memorised pairs are filtered"


@every_implementation
@pytest.mark.parametrize("field", ["s0", "A", "pre_bias", "W_L", "C", "logit_bias"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "case", [memorised_case(), make_case(6, 2, 20, 6, 1.0)], ids=["sparse", "dense"]
)
def test_gradients_are_finite_where_the_readable_loops_are(name, field, value, case):
    index = (0,) * getattr(case.tables, field).dim()
    case = case._replace(tables=poisoned(case.tables, field, index, value))
    actual, expected = (compute(case, Cpu(one, 1)) for one in (name, "reference"))
    assert actual.correct == expected.correct
    for part, ours, theirs in zip(
        Tables._fields, actual.gradients, expected.gradients, strict=True
    ):
        assert torch.equal(ours.isnan(), theirs.isnan()), part
        assert torch.equal(ours.isinf(), theirs.isinf()), part


@every_implementation
def test_surfaces_let_nan_through_relu(name):
    tables = poisoned(make_case(6, 2, 20).tables, "B", (4, 1, 3), math.nan)
    surfaces = Cpu(name, 1).activations(tables, torch.arange(20))
    expected = torch.zeros(6, 6, 20, dtype=torch.bool)
    expected[:, 4, 3] = True
    assert torch.equal(surfaces.isnan(), expected)


@every_implementation
def test_the_first_of_equal_maxima_decides(name):
    tables = Tables(*(torch.zeros_like(t) for t in make_case(2, 1, 4, 5).tables))
    tables.logit_bias[[1, 3]] = 2.0
    for goal, correct in ((0, 0), (1, 1), (3, 0), (4, 0)):
        result = Cpu(name, 1).evaluate(tables, torch.tensor([2]), torch.tensor([goal]))
        assert result.correct == correct, goal


def test_reference_gradients_equal_finite_differences():
    tables, pairs, goal = make_case(3, 2, 4, 3, 1.0)
    inputs = [table.double().requires_grad_() for table in tables]

    def loss(*tables):
        return PLAIN.pair_loss(Tables(*tables), pairs, goal)[0]

    assert torch.autograd.gradcheck(loss, inputs)


@every_implementation
def test_a_training_step_through_the_fold_is_plain_pytorch(name):
    """loss.backward() scales with what stands above it, and reaches every weight."""
    model = Transformer(11, 12, 3, 20, generators(0)[0])
    pairs = split_pairs(11, 0.5, generators(0)[1]).train
    goal = targets(11)[pairs]
    gradients = {}
    for backend in (Cpu(name, 2), PLAIN):
        model.zero_grad()
        (3 * backend.pair_loss(fold(model), pairs, goal)[0]).backward()
        gradients[backend.name] = {n: p.grad for n, p in model.named_parameters()}
    for field, expected in gradients[PLAIN.name].items():
        torch.testing.assert_close(gradients[name][field], expected, rtol=1e-4, atol=1e-7)
