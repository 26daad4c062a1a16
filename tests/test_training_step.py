"""The kernel's training step, from weights to their gradients, and the threads it runs on."""

import os
import threading

import pytest
import torch

from grokking.kernels.compiled import implementations
from grokking.kernels.cpu import Cpu
from grokking.kernels.reference import Reference
from grokking.model.fold import fold_parameters
from grokking.model.parameters import Parameters, parameter_shapes
from grokking.model.tables import Tables
from grokking.model.transformer import parameters_of
from grokking.system.environment import denormals_as_zero
from tests.support.accuracy import assert_as_good_as_pytorch
from tests.support.addition import generators, split_pairs, targets
from tests.support.trained_cases import trained_weights

PLAIN = Reference()
every_implementation = pytest.mark.parametrize("name", implementations())

# p, d_model, H, d_head, d_mlp, classes: whole vectors, none, one of everything
SHAPES = [
    (2, 1, 1, 1, 1, 1),
    (5, 6, 3, 2, 7, 9),
    (17, 20, 5, 4, 33, 17),
    (31, 33, 2, 17, 130, 65),
    (16, 64, 4, 16, 64, 16),
    (29, 16, 1, 40, 48, 113),
]


def make_parameters(p, d_model, heads, d_head, d_mlp, classes, seed=0) -> Parameters:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator) * d_model**-0.5

    shapes = parameter_shapes(p, d_model, heads, d_head, d_mlp, classes).values()
    return Parameters(*(normal(*shape).requires_grad_() for shape in shapes))


def in_float64(weights: Parameters) -> Parameters:
    return Parameters(*(weight.detach().double().requires_grad_() for weight in weights))


def some_pairs(p, classes, seed=1):
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.randperm(p * p, generator=generator)[: max(1, p * p // 2)].sort().values
    return pairs, torch.randint(classes, (len(pairs),), generator=generator)


def gradients(backend, weights, pairs, goal) -> Parameters:
    loss, _ = backend.training_step(weights, pairs, goal)
    return Parameters(*torch.autograd.grad(loss, weights))


def assert_all_as_good_as_pytorch(actual, plain, exact):
    """Each is a difference of sums that are as large as the largest of them."""
    scale = max(float(one.abs().max()) for one in exact)
    for name, *values in zip(type(exact)._fields, actual, plain, exact, strict=True):
        assert_as_good_as_pytorch(name, *values, scale=scale)


@every_implementation
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_tables_loss_and_gradients_are_as_accurate_as_pytorchs(name, threads, shape):
    weights, backend = make_parameters(*shape), Cpu(name, threads)
    exact = in_float64(weights)
    with torch.no_grad():
        plain_tables, exact_tables = fold_parameters(weights), fold_parameters(exact)
    for field, *tables in zip(
        Tables._fields, backend.fold(weights), plain_tables, exact_tables, strict=True
    ):
        size = float(exact_tables.A.abs().max())  # s2 and the biases are no sample of an error
        assert_as_good_as_pytorch(field, *tables, scale=max(size, float(tables[2].abs().max())))

    problem = some_pairs(shape[0], shape[-1])
    losses = [
        one.training_step(w, *problem)[1].loss for one, w in ((backend, weights), (PLAIN, exact))
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert_all_as_good_as_pytorch(
        gradients(backend, weights, *problem),
        gradients(PLAIN, weights, *problem),
        gradients(PLAIN, exact, *problem),
    )


@every_implementation
def test_on_trained_weights_the_weights_gradients_are_as_accurate_as_pytorchs(name):
    """Of memorised pairs. Those with a unit that rounding switches are left out, as in trained_cases."""
    backend, left_out = Cpu(name, 2), 0
    for weights, pairs, goal in trained_weights().values():
        exact = in_float64(weights)
        ours, plain, true = (
            PLAIN.activations(one.fold(w), torch.arange(len(weights.b_in))).flatten(0, 1)[pairs] > 0
            for one, w in ((backend, weights), (PLAIN, weights), (PLAIN, exact))
        )
        switched = ((ours != true) | (plain != true)).any(1)
        left_out += int(switched.sum())
        problem = pairs[~switched], goal[~switched]
        assert_all_as_good_as_pytorch(
            gradients(backend, weights, *problem),
            gradients(PLAIN, weights, *problem),
            gradients(PLAIN, exact, *problem),
        )
    assert left_out < 20  # of 4,536 pairs


@every_implementation
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_step_is_the_fold_and_the_loss_of_its_tables(name, threads):
    weights, backend = make_parameters(*SHAPES[2]), Cpu(name, threads)
    pairs, goal = some_pairs(17, 17)
    _, step = backend.training_step(weights, pairs, goal, class_sums=True)
    _, of_tables = backend.pair_loss(backend.fold(weights), pairs, goal, class_sums=True)
    assert (step.loss, step.correct) == (of_tables.loss, of_tables.correct)
    assert torch.equal(step.class_sums, of_tables.class_sums)
    assert same(step.tables, backend.fold(weights))  # for the probe of these weights
    assert backend.training_step(weights, pairs, goal)[1].tables is None


@every_implementation
@pytest.mark.parametrize("field", Parameters._fields)
@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_what_is_not_finite_makes_the_loss_and_the_weights_gradients_so(name, field, value):
    weights = make_parameters(5, 6, 3, 2, 7, 9)
    with torch.no_grad():
        getattr(weights, field).view(-1)[0] = value
    pairs, goal = torch.arange(25), torch.arange(25) % 9
    loss, step = Cpu(name, 2).training_step(weights, pairs, goal)
    expected, plain = PLAIN.training_step(weights, pairs, goal)
    assert str(step.loss) == str(plain.loss) or step.loss == pytest.approx(plain.loss, rel=1e-5)
    found = torch.autograd.grad(loss, weights)
    for one, other in zip(found, torch.autograd.grad(expected, weights), strict=True):
        assert torch.equal(one.isfinite().all(), other.isfinite().all())


def test_a_loss_can_be_scaled_and_is_differentiated_once():
    weights, backend = make_parameters(*SHAPES[1]), Cpu("baseline", 1)
    problem = some_pairs(5, 9)
    once = gradients(backend, weights, *problem)
    loss, _ = backend.training_step(weights, *problem)
    (4 * loss).backward()
    for weight, gradient in zip(weights, once, strict=True):
        assert torch.equal(weight.grad, 4 * gradient)
    with pytest.raises(RuntimeError, match="differentiated before"):
        loss.backward()


# ---------------------------------------------------------------- threads


def bits_of_a_step(threads):
    weights = make_parameters(*SHAPES[3])
    return gradients(Cpu("baseline", threads), weights, *some_pairs(31, 65))


def same(one, other):
    return all(torch.equal(x, y) for x, y in zip(one, other, strict=True))


def test_callers_at_the_same_time_do_not_disturb_each_other():
    """The second to come finds the kept threads at work, and computes by itself."""
    alone, found = bits_of_a_step(3), []

    def call():
        found.extend(same(bits_of_a_step(3), alone) for _ in range(20))

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 80
    assert all(found)


def test_a_forked_process_has_threads_of_its_own():
    alone = bits_of_a_step(3)
    child = os.fork()
    if child == 0:
        os._exit(0 if same(bits_of_a_step(3), alone) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_every_thread_treats_denormal_numbers_as_its_caller_does():
    """The threads are kept from call to call; one that was made before must not keep its ways."""
    weights = make_parameters(*SHAPES[3])
    with torch.no_grad():
        weights.W_V.mul_(1e-30)  # A and B, and with them some gradients, below 2^-126
        weights.W_O.mul_(1e-8)
    pairs, goal = some_pairs(31, 65)

    def folded(threads):
        return Cpu("baseline", threads).fold(weights).A.view(torch.int32)

    def denormal_entries(bits):  # by their bits: a comparison may take them for 0, too
        return int(((bits & 0x7F800000 == 0) & (bits & 0x7FFFFF != 0)).sum())

    kept = folded(3)
    with denormals_as_zero():
        flushed = folded(3)
    assert denormal_entries(kept) > 0
    assert denormal_entries(flushed) == 0
    assert torch.equal(folded(3), kept) and torch.equal(folded(1), kept)
    assert torch.isfinite(gradients(Cpu("baseline", 3), weights, pairs, goal).W_E).all()


# ---------------------------------------------------------------- units that are off


@every_implementation
def test_logits_are_the_same_bits_in_a_tile_of_any_activity(name):
    """A tile that skips the zeros of post adds what a dense one does, in the same order."""
    weights = make_parameters(13, 16, 2, 8, 200, 70)
    backend, goal = Cpu(name, 1), torch.zeros(1, dtype=torch.int64)
    tables = backend.fold(weights)
    active = backend.activations(tables, torch.arange(200)).flatten(0, 1) > 0  # [p * p, d_mlp]
    share = active.double().mean()
    assert 0.3 < share < 0.7
    raised = tables._replace(pre_bias=tables.pre_bias.clone())
    raised.pre_bias[: 200 - 12] += 100.0  # the mostly active: dense
    for of_case in (tables, raised):
        every = torch.arange(169)
        together = backend.evaluate(
            of_case, every, goal.expand(169).contiguous(), logits=True
        ).logits
        for pair in (0, 77, 168):
            alone = backend.evaluate(of_case, every[pair : pair + 1], goal, logits=True).logits
            assert torch.equal(alone[0], together[pair])


def test_the_split_of_a_run_trains_as_in_pytorch():
    """Some steps of AdamW from the same weights stay together."""
    from grokking.model.transformer import Transformer

    ends = []
    for backend in (Cpu("baseline", 2), PLAIN):
        model = Transformer(23, 16, 4, 32, generators(0)[0])
        pairs = split_pairs(23, 0.5, generators(0)[1]).train
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
        for _ in range(30):
            optimizer.zero_grad()
            loss, _ = backend.training_step(parameters_of(model), pairs, targets(23)[pairs])
            loss.backward()
            optimizer.step()
        ends.append(loss.item())
    assert ends[0] == pytest.approx(ends[1], rel=1e-4)
