"""The CUDA kernel on a real GPU; without one there is nothing to test. For tools/gpu/one_call.sh."""

import pytest
import torch

from grokking.kernels.compiled import cuda_devices
from grokking.kernels.cuda import Cuda
from grokking.kernels.parity import disagreement
from grokking.model.tables import Tables
from grokking.model.transformer import Transformer, fold
from grokking.training.engine import FoldedEngine, PlainEngine
from tests.support.addition import addition, generators, split_pairs, targets
from tests.support.cuda_cases import SIZES, answer_of, assert_accurate
from tests.support.emulation import make_request

pytestmark = pytest.mark.skipif(
    cuda_devices()[0] == 0 or not torch.cuda.is_available(),
    reason="no GPU that torch and the kernel see",
)
KERNEL = Cuda()
DEVICES = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]


def problem(device):
    """The experiment's model in float32 and its training pairs, on `device`."""
    for_weights, for_split = generators(0)
    model = Transformer(113, 128, 4, 512, for_weights).to(device)
    return model, split_pairs(113, 0.3, for_split)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_every_call_agrees_with_plain_pytorch(device):
    assert disagreement(KERNEL, device) == ""


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"p{size[0]}")
def test_every_call_agrees_at_sizes_that_straddle_the_tiles(size):
    request = make_request(*size)
    assert_accurate(answer_of(request, backend=KERNEL, device=DEVICES[0]), request)


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_training_gradients_of_the_experiment_agree_with_plain_pytorch(device):
    model, split = problem(device)

    def gradients(engine):
        return torch.autograd.grad(
            engine.training_step(model, engine.train).loss, list(model.parameters())
        )

    ours = gradients(FoldedEngine(addition(113), split, KERNEL, device))
    for a, b in zip(ours, gradients(PlainEngine(addition(113), split, device)), strict=True):
        assert (a - b).norm() <= 1e-4 * b.norm()


def test_equal_input_gives_equal_bits():
    device = DEVICES[0]
    model, split = problem(device)
    tables = Tables(*(table.detach().requires_grad_() for table in fold(model)))
    pairs = split.train.to(device)
    goal = targets(113).to(device)[pairs]

    def run():
        loss, _ = KERNEL.pair_loss(tables, pairs, goal)
        return [loss, *torch.autograd.grad(loss, tables)]

    for first, again in zip(run(), run(), strict=True):
        assert torch.equal(first, again)


def test_work_goes_to_the_current_stream_and_the_device_is_given_back():
    device = DEVICES[-1]
    before, stream = torch.cuda.current_device(), torch.cuda.Stream(device)
    tables = Tables(*(table.detach() for table in fold(problem(device)[0])))
    everything_at_once = torch.arange(113**2, device=device)
    goal = targets(113).to(device)
    KERNEL.evaluate(tables, everything_at_once, goal)  # looks at the indices, and waits
    torch.cuda.synchronize(device)
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)  # work on another stream would overtake this
        tables.logit_bias.add_(1.0)
        inside = KERNEL.evaluate(tables, everything_at_once, goal, logits=True).logits
    stream.synchronize()
    outside = KERNEL.evaluate(tables, everything_at_once, goal, logits=True).logits
    assert torch.equal(inside, outside)
    assert torch.cuda.current_device() == before


@pytest.mark.parametrize("fault", ["pairs", "targets"])
def test_values_out_of_range_are_refused_before_the_device_reads_them(fault):
    device = DEVICES[0]
    tables = fold(problem(device)[0])
    good = torch.zeros(3, dtype=torch.int64, device=device)
    bad = torch.tensor([0, 113**2 if fault == "pairs" else 113, 1], device=device)
    pairs, goal = (bad, good) if fault == "pairs" else (good, bad)
    with pytest.raises(ValueError, match=f"{fault} holds 0 to"):
        KERNEL.evaluate(tables, pairs, goal)


def test_strided_tables_are_copied_not_misread():
    tables = Tables(*(t.detach() for t in fold(problem(DEVICES[0])[0])))
    wide = torch.zeros(512, 226, device=DEVICES[0])
    wide[:, ::2] = tables.W_L
    pairs, goal = torch.arange(64, device=DEVICES[0]), targets(113).to(DEVICES[0])[:64]
    a, b = (KERNEL.evaluate(t, pairs, goal) for t in (tables, tables._replace(W_L=wide[:, ::2])))
    assert a == b
