"""Which kernel runs on a GPU, and the comparison that decides it, as far as both need no GPU."""

import pytest
import torch

from grokking.config import load
from grokking.errors import UserError
from grokking.extension import CUDA, Kernel, choose_kernel, cuda_devices, implementations
from grokking.first_use import compare, disagreement, everything, first_use_fault, kernel_on_gpu
from grokking.run import kernel_for

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")


def one_device():
    return 1, ""


def no_device():
    return 0, "no NVIDIA driver"


def test_a_gpu_whose_first_use_agrees_gets_the_cuda_kernel():
    for requested in ("auto", CUDA):
        assert kernel_on_gpu(requested, GPU, 2, one_device, lambda _: "") == Kernel(CUDA, 2)


def test_a_first_use_that_disagrees_falls_back_and_says_so():
    kernel = kernel_on_gpu(CUDA, GPU, 2, one_device, lambda device: f"wrong on {device}")
    assert kernel == Kernel(None, 2, "wrong on cuda:0")
    assert str(kernel) == "plain PyTorch, because wrong on cuda:0"


def test_without_a_device_auto_is_plain_pytorch_with_the_reason():
    kernel = kernel_on_gpu(
        "auto", GPU, 2, no_device, lambda _: pytest.fail("used without a device")
    )
    assert kernel == Kernel(None, 2, "the CUDA kernel cannot run here: no NVIDIA driver")


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        (CUDA, "cannot run here: no NVIDIA driver"),
        ("avx2", "runs on the CPU, but the device is cuda:0"),
    ],
)
def test_a_kernel_asked_for_by_name_that_cannot_run_on_the_gpu_is_refused(requested, message):
    with pytest.raises(UserError, match=message):
        kernel_on_gpu(requested, GPU, 2, no_device)


def test_the_cuda_kernel_is_refused_where_the_device_is_the_cpu():
    with pytest.raises(UserError, match="GROK_KERNEL is cuda, but the device is cpu"):
        kernel_for(load({"GROK_KERNEL": "cuda"}).config, CPU, 1)


def test_devices_are_counted_or_their_absence_explained():
    count, reason = cuda_devices()
    assert (count > 0) == (reason == "")


@pytest.mark.skipif(cuda_devices()[0] > 0, reason="this machine can run the CUDA kernel")
def test_without_a_driver_the_cuda_kernel_is_refused_in_one_line(grokking):
    with pytest.raises(UserError, match=r"GROK_KERNEL is 'cuda', which cannot run here: ."):
        choose_kernel(CUDA, 1)
    done = grokking(GROK_KERNEL="cuda")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot run here" in done.stderr


@pytest.mark.parametrize("name", [None, *implementations()])
def test_every_kernel_of_the_cpu_passes_the_comparison(name):
    assert disagreement(Kernel(name, 2), CPU) == ""


@pytest.mark.parametrize("fault", ["scaled", "shifted", "nan"])
def test_a_kernel_that_computes_something_else_is_found(fault):
    tables = tables_for_comparison()
    right = everything(tables(torch.float32), Kernel(None, 1))
    exact = everything(tables(torch.float64), Kernel(None, 1))
    wrong = right["the gradient of B"].clone()
    if fault == "scaled":
        wrong *= 1.001
    elif fault == "shifted":
        wrong = wrong.roll(1, dims=0)
    else:
        wrong[3, 1, 4] = torch.nan
    assert compare(right, right, exact) == ""
    assert "the gradient of B is off by" in compare(
        {**right, "the gradient of B": wrong}, right, exact
    )


def tables_for_comparison():
    from grokking.first_use import D_MLP, D_MODEL, HEADS, MODULUS
    from grokking.model import Tables, Transformer, fold

    folded = fold(Transformer(MODULUS, D_MODEL, HEADS, D_MLP, torch.Generator().manual_seed(1)))
    return lambda dtype: Tables(*(table.detach().to(dtype) for table in folded))


def test_a_kernel_that_cannot_run_at_all_is_a_fault_in_words():
    fault = first_use_fault(CPU)
    assert "failed its first use on cpu" in fault or "no CUDA kernel" in fault
