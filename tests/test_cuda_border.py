"""From torch functions through addresses to kernels and back: CUDA's Python side, in emulation.

The extension's own bindings and launchers, compiled over emulated kernels, get CPU tensors.
"""

import importlib.util
import sysconfig

import pybind11
import pytest
import torch

from grokking.kernels import cuda
from grokking.kernels.cuda import Cuda
from grokking.kernels.parity import disagreement
from grokking.model.tables import Tables
from grokking.model.transformer import Transformer, fold
from grokking.training.engine import FoldedEngine, PlainEngine
from tests.support.addition import addition, generators, split_pairs, targets
from tests.support.cuda_cases import SIZES, answer_of, assert_accurate
from tests.support.emulation import compile_module, make_request
from tests.support.environment import require

KERNEL, CPU = Cuda(), torch.device("cpu")


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    require("g++")
    path = (
        tmp_path_factory.mktemp("border")
        / f"emulated_module{sysconfig.get_config_var('EXT_SUFFIX')}"
    )
    compile_module(path, pybind11.get_include(), sysconfig.get_path("include"))
    spec = importlib.util.spec_from_file_location("emulated_module", path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(autouse=True)
def emulated(module, monkeypatch):
    """The CUDA backend over the emulated module, whose second device holds the CPU's tensors."""
    monkeypatch.setattr(cuda, "_cuda_module", lambda: module)
    monkeypatch.setattr(cuda, "_place", lambda device: (1, 0))


@pytest.fixture
def problem():
    """(tables, pairs, targets) of a small random model."""
    tables = fold(Transformer(7, 8, 2, 9, torch.Generator().manual_seed(2)))
    pairs = torch.arange(0, 49, 2)
    return Tables(*(table.detach() for table in tables)), pairs, targets(7)[pairs]


def test_first_use_passes():
    assert disagreement(KERNEL, CPU) == ""


@pytest.mark.parametrize("size", SIZES[:2], ids=lambda size: f"p{size[0]}")
def test_every_call_agrees_at_sizes_below_a_tile(size):
    request = make_request(*size)
    assert_accurate(answer_of(request, backend=KERNEL), request)


def test_training_and_probing_agree_with_plain_pytorch():
    for_weights, for_split = generators(3)
    model, split = Transformer(11, 12, 3, 17, for_weights), split_pairs(11, 0.4, for_split)
    engines = FoldedEngine(addition(11), split, KERNEL), PlainEngine(addition(11), split, CPU)
    steps = [engine.training_step(model, engine.train, class_sums=True) for engine in engines]
    probes = [engine.evaluate(model, engine.validation, class_sums=True) for engine in engines]
    for ours, plain in ((steps[0].score, steps[1].score), probes):
        assert ours.loss == pytest.approx(plain.loss, rel=1e-5)
        assert ours.accuracy == plain.accuracy
        torch.testing.assert_close(ours.class_sums, plain.class_sums, rtol=1e-4, atol=1e-4)
    ours, plain = (torch.autograd.grad(step.loss, list(model.parameters())) for step in steps)
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(*(engine.surfaces(model, [4, 16]) for engine in engines))


def test_gradients_are_scaled_by_what_comes_from_above(problem):
    tables, pairs, goal = problem
    tables = Tables(*(table.requires_grad_() for table in tables))
    once = torch.autograd.grad(KERNEL.pair_loss(tables, pairs, goal)[0], tables)
    thrice = torch.autograd.grad(3 * KERNEL.pair_loss(tables, pairs, goal)[0], tables)
    for a, b in zip(once, thrice, strict=True):
        torch.testing.assert_close(3 * a, b)


def test_many_pairs_are_evaluated_in_parts_that_fit_in_memory(problem, monkeypatch):
    whole = KERNEL.evaluate(*problem, logits=True, class_sums=True)
    monkeypatch.setattr(cuda, "LOGITS_AT_ONCE", 30)  # 4 pairs of 7 logits; 25 pairs are 7 parts
    parts = KERNEL.evaluate(*problem, logits=True, class_sums=True)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-12)
    assert parts.correct == whole.correct
    assert torch.equal(parts.logits, whole.logits)
    torch.testing.assert_close(parts.class_sums, whole.class_sums, rtol=1e-12, atol=1e-12)


def test_strided_tables_are_copied_not_misread(problem):
    tables, pairs, goal = problem
    wide = torch.full((9, 14), torch.nan)
    wide[:, ::2] = tables.W_L
    strided = tables._replace(W_L=wide[:, ::2])
    assert KERNEL.evaluate(strided, pairs, goal) == KERNEL.evaluate(tables, pairs, goal)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W_L": torch.zeros(9, 6)}, r"C is \(7, 2, 7\) .*, expected \(7, 2, 6\)"),
        ({"B": torch.zeros(7, 2, 8)}, r"B is \(7, 2, 8\) .*, expected \(7, 2, 9\)"),
        (
            {"s2": torch.zeros(2, dtype=torch.float64)},
            r"s2 is \(2,\) torch.float64 .*, expected \(2,\) torch.float32",
        ),
        ({"D": torch.zeros(7, 2, 7, device="meta")}, "D is .* on meta, expected .* on cpu"),
    ],
)  # fmt: skip
def test_tables_of_another_shape_type_or_device_are_refused(problem, change, message):
    tables, pairs, goal = problem
    with pytest.raises(ValueError, match=message):
        KERNEL.evaluate(tables._replace(**change), pairs, goal)


@pytest.mark.parametrize(
    ("pairs", "goal", "message"),
    [
        ([0, 49], [0, 0], "pairs holds 0 to 49, expected 0 <= value < 49"),
        ([-1, 3], [0, 0], "pairs holds -1 to 3"),
        ([0, 1], [0, 7], "targets holds 0 to 7, expected 0 <= value < 7"),
        ([0, 1], [0, 1, 2], r"targets is \(3,\)"),
        ([], [], "pairs is empty"),
    ],
)
def test_pairs_and_targets_out_of_range_are_refused(problem, pairs, goal, message):
    pairs, goal = (torch.tensor(values, dtype=torch.int64) for values in (pairs, goal))
    for call in (KERNEL.evaluate, KERNEL.pair_loss):
        with pytest.raises(ValueError, match=message):
            call(problem[0], pairs, goal)


def test_pairs_changed_in_place_are_checked_again(problem):
    tables, pairs, goal = problem
    KERNEL.evaluate(tables, pairs, goal)
    pairs[3] = 49
    with pytest.raises(ValueError, match="pairs holds 0 to 49"):
        KERNEL.evaluate(tables, pairs, goal)


def test_an_error_of_the_device_is_an_exception_with_its_number(problem, monkeypatch):
    monkeypatch.setattr(cuda, "_place", lambda device: (5, 0))  # there are two
    with pytest.raises(RuntimeError, match=r"the CUDA kernel failed: .*\(CUDA error 101\)"):
        KERNEL.evaluate(*problem)
