"""The CUDA kernels without a GPU: the device code compiled by g++ and held to plain PyTorch."""

import subprocess
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.support.cuda_cases import SIZES, assert_accurate
from tests.support.emulation import FLAVOURS, HERE, Answer, Request, build, emulate, make_request
from tests.support.environment import require
from tests.support.kernel_cases import Case, Computed
from tests.support.trained_cases import assert_trained_as_good_as_pytorch


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The emulator, compiled as it is and for the sanitizers."""
    require("g++")
    folder = tmp_path_factory.mktemp("emulated")
    return {name: build(folder / name, *flags) for name, flags in FLAVOURS.items()}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"p{size[0]}")
def test_every_call_agrees_with_plain_pytorch(programs, size):
    request = make_request(*size)
    assert_accurate(emulate(programs["plain"], request), request)


def test_on_trained_weights_gradients_are_as_accurate_as_pytorchs(programs, record_property):
    """Memorised pairs: the rounding of a logit is the relative error of their gradients."""

    @cache
    def answer_of(case: Case) -> Answer:
        neurons = torch.arange(len(case.tables.pre_bias))
        return emulate(programs["plain"], Request(*case, neurons, 1 / len(case.pairs)))

    def computed(case: Case) -> Computed:
        answer = answer_of(case)
        loss, correct = answer.score.tolist()
        sums = torch.stack([answer.class_sums, answer.training_class_sums])
        mean = loss / len(case.pairs)
        return Computed(mean, int(correct), answer.logits, sums, answer.gradients)

    units = assert_trained_as_good_as_pytorch(computed, lambda case: answer_of(case).surfaces)
    record_property("hidden units that rounding switches", units)
    assert units < 10  # of 2.3 million


@pytest.mark.parametrize("size", [SIZES[1], SIZES[4], SIZES[-1]], ids=lambda size: f"p{size[0]}")
@pytest.mark.parametrize("flavour", ["address", "thread"])
def test_sanitizers_find_nothing(programs, flavour, size):
    request = make_request(*size)
    assert_accurate(emulate(programs[flavour], request), request)


def test_the_order_in_which_threads_run_changes_no_bit(programs):
    request = make_request(33, 3, 65, 300, 4)
    first, second = (emulate(programs["plain"], request, seed) for seed in (1, 2))
    for name in Answer._fields:
        ours, again = (getattr(answer, name) for answer in (first, second))
        for one, other in zip(ours, again, strict=True):  # of gradients: table by table
            assert torch.equal(one, other), name


def test_nan_and_infinity_reach_every_pair_they_concern_and_no_other(programs):
    request = make_request(5, 2, 33, 25, 1)
    request = request._replace(
        pairs=torch.arange(25), targets=(torch.arange(25) // 5 + torch.arange(25) % 5) % 5
    )
    clean = emulate(programs["plain"], request).logits
    request.tables.A[2, 1, 4] = torch.nan
    request.tables.D[3, 0, 1] = torch.inf
    answer = emulate(programs["plain"], request)
    a, b = request.pairs // 5, request.pairs % 5
    assert answer.logits[a == 2].isnan().all()
    assert (answer.logits[(b == 3) & (a != 2), 1] == torch.inf).all()
    untouched = (a != 2) & (b != 3)
    assert torch.equal(answer.logits[untouched], clean[untouched])
    assert answer.score[0].isnan()
    right = clean.argmax(1) == request.targets
    assert answer.score[1] == (right & untouched).sum()


def test_losses_far_below_what_log_softmax_can_hold(programs):
    request = make_request(3, 1, 2, 9, 1)
    _, _, _, A, B, pre_bias, W_L, C, D, logit_bias = request.tables
    for table in (A, B, pre_bias, W_L, C, D, logit_bias):
        table.zero_()
    logit_bias[1] = 60.0
    request = request._replace(targets=torch.ones(9, dtype=torch.int64))
    answer = emulate(programs["plain"], request)
    assert answer.score[0].item() == pytest.approx(9 * 2 * 8.756510762696521e-27, rel=1e-5, abs=0)
    assert answer.score[1] == 9
    expected = torch.tensor([1.0, -2.0, 1.0]) * 8.756510762696521e-27
    torch.testing.assert_close(answer.gradients.logit_bias, expected, rtol=1e-5, atol=0)


def test_launch_arithmetic_and_the_errors_that_need_no_kernel(tmp_path):
    require("g++")
    program = build(tmp_path / "launches", source=HERE / "launch_arithmetic.cpp")
    done = subprocess.run([program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
