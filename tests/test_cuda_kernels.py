"""The CUDA kernels without a GPU: the device code compiled by g++ and held to plain PyTorch.

Tolerance: at most twice the error that plain PyTorch makes in float32 on the same tables, both
against float64, plus one float32 rounding unit.
"""

import subprocess
from pathlib import Path

import pytest
import torch
from conftest import require
from emulation import FLAVOURS, Answer, Request, build, emulate, make_request

from grokking import ops
from grokking.extension import Kernel
from grokking.folding import Tables

PLAIN = Kernel(None, 1)
UNIT = torch.finfo(torch.float32).eps

# (p, H, d_mlp, pairs, neurons): p around the tiles of 32 and 128, odd heads and widths, 2 splits
SIZES = [
    (2, 1, 1, 4, 1),
    (3, 3, 5, 9, 5),
    (31, 2, 31, 300, 3),
    (32, 1, 32, 256, 32),
    (33, 5, 33, 257, 7),
    (113, 4, 96, 300, 9),
    (127, 1, 7, 127, 1),
    (128, 3, 129, 96, 2),
    (129, 2, 40, 65, 2),
]


def reference(request: Request, dtype: torch.dtype) -> Answer:
    """The same answer from plain PyTorch."""
    tables = Tables(*(table.to(dtype).requires_grad_() for table in request.tables))
    p, count = len(tables.s0), len(request.pairs)
    class_sums, of_loss = torch.ones(2, p, tables.W_L.shape[1], dtype=torch.float64)
    loss = ops.pair_loss(tables, request.pairs, request.targets, PLAIN, of_loss)
    loss.mean.backward()
    found = ops.evaluate(tables, request.pairs, request.targets, PLAIN, True, class_sums)
    assert found.logits is not None
    return Answer(
        score=torch.tensor([found.loss * count, found.correct], dtype=torch.float64),
        logits=found.logits,
        class_sums=class_sums,
        training_score=torch.tensor([loss.loss * count, loss.correct], dtype=torch.float64),
        training_class_sums=of_loss,
        gradients=Tables(*(table.grad for table in tables)),
        surfaces=ops.activations(tables, request.neurons, PLAIN),
    )


def assert_accurate(answer: Answer, request: Request) -> None:
    exact, baseline = reference(request, torch.float64), reference(request, torch.float32)

    def compare(name: str, ours: torch.Tensor, plain: torch.Tensor, true: torch.Tensor) -> None:
        true = true.detach().double()
        error, allowed = ((x.detach().double() - true).norm() for x in (ours, plain))
        limit = 2 * allowed + UNIT * true.norm()
        assert error <= limit, f"{name}: error {error:.3g}, expected at most {limit:.3g}"

    for name in ("logits", "class_sums", "training_class_sums", "surfaces"):
        compare(name, getattr(answer, name), getattr(baseline, name), getattr(exact, name))
    for name, *parts in zip(
        Tables._fields, answer.gradients, baseline.gradients, exact.gradients, strict=True
    ):
        compare(f"gradient of {name}", *parts)
    for name in ("score", "training_score"):
        ours, true = getattr(answer, name), getattr(exact, name)
        compare(name, ours[:1], getattr(baseline, name)[:1], true[:1])
        assert ours[1] == true[1]


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
    program = build(tmp_path / "launches", source="launch_arithmetic")
    done = subprocess.run([program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
