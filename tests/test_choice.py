"""Which implementation computes a run, and the comparison a GPU must pass, as far as no GPU is needed."""

import subprocess
import sys
import types

import pytest
import torch

from grokking.kernels import choice, parity
from grokking.kernels.choice import AUTO, CUDA, choose_backend, choose_on_cpu
from grokking.kernels.compiled import cuda_devices, implementations, load_extension
from grokking.kernels.cpu import Cpu
from grokking.kernels.cuda import Cuda
from grokking.kernels.parity import compare, disagreement, everything, first_use_fault
from grokking.kernels.reference import Reference
from grokking.model.tables import Tables
from grokking.model.transformer import Transformer, fold
from grokking.system.errors import UserError
from tests.support.environment import ROOT

GPU, CPU = torch.device("cuda:0"), torch.device("cpu")
FALLBACK = "the extension could not be built (no compiler)"
compiled = pytest.mark.skipif(not implementations(), reason=load_extension()[1])


@pytest.fixture
def one_device(monkeypatch):
    monkeypatch.setattr(choice, "cuda_devices", lambda: (1, ""))
    monkeypatch.setattr(parity, "first_use_fault", lambda _: "")


@pytest.fixture
def no_device(monkeypatch):
    monkeypatch.setattr(choice, "cuda_devices", lambda: (0, "no NVIDIA driver"))
    monkeypatch.setattr(parity, "first_use_fault", lambda _: pytest.fail("used without a device"))


@pytest.fixture
def no_extension(monkeypatch):
    build_info = types.ModuleType("grokking._build_info")
    build_info.FALLBACK = FALLBACK
    monkeypatch.setitem(sys.modules, "grokking._build_info", build_info)


def test_refusing_a_kernel_imports_neither_torch_nor_numpy():
    program = (
        "import sys; from grokking.kernels import choice; choice.check('auto');"
        "print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@compiled
def test_auto_is_the_best_implementation_and_every_name_can_be_forced():
    names = list(implementations())
    assert names[-1] == "reference"
    best = choose_backend(AUTO, CPU, 2)
    assert (best.name, best.threads, best.reason) == (names[0], 2, "")
    for name in names:
        assert str(choose_backend(name, CPU, 1)) == f"{name}, 1 thread"


@compiled
def test_on_the_processor_the_kernel_of_a_gpu_means_the_best_one():
    assert choose_on_cpu(CUDA, 3) == choose_on_cpu(AUTO, 3)


def test_plain_pytorch_is_had_by_its_name_on_every_device():
    for device in (CPU, GPU):
        chosen = choose_backend("torch", device, 2)
        assert str(chosen) == "plain PyTorch, because GROK_KERNEL=torch asks for it"
        assert chosen.threads == chosen.torch_threads == 2


def test_beside_a_fused_kernel_torch_has_one_thread():
    assert Cpu("baseline", 8).torch_threads == Cuda(8).torch_threads == 1


def test_an_unknown_kernel_is_the_users_error_and_lists_the_choices():
    with pytest.raises(UserError) as refused:
        choice.check("sse9")
    assert "GROK_KERNEL is 'sse9', expected one of auto, torch" in str(refused.value)


def test_a_build_without_the_extension_says_why_and_uses_pytorch(no_extension):
    for chosen in (choose_backend(AUTO, CPU, 2), choose_on_cpu(CUDA, 2)):
        assert chosen == Reference(2, FALLBACK)
        assert str(chosen) == f"plain PyTorch, because {FALLBACK}"
    with pytest.raises(UserError, match="no compiler"):
        choose_backend("reference", CPU, 2)


def test_a_gpu_whose_first_use_agrees_gets_the_cuda_kernel(one_device):
    for requested in (AUTO, CUDA):
        assert choose_backend(requested, GPU, 2) == Cuda(2)


def test_a_first_use_that_disagrees_falls_back_and_says_so(one_device, monkeypatch):
    monkeypatch.setattr(parity, "first_use_fault", lambda device: f"wrong on {device}")
    chosen = choose_backend(CUDA, GPU, 2)
    assert chosen == Reference(2, "wrong on cuda:0")
    assert str(chosen) == "plain PyTorch, because wrong on cuda:0"


def test_without_a_device_auto_is_plain_pytorch_with_the_reason(no_device):
    expected = Reference(2, "the CUDA kernel cannot run here: no NVIDIA driver")
    assert choose_backend(AUTO, GPU, 2) == expected


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        (CUDA, "cannot run here: no NVIDIA driver"),
        ("avx2", "runs on the CPU, but the device is cuda:0"),
    ],
)
def test_a_kernel_asked_for_by_name_that_cannot_run_on_the_gpu_is_refused(
    no_device, requested, message
):
    with pytest.raises(UserError, match=message):
        choose_backend(requested, GPU, 2)


def test_the_cuda_kernel_is_refused_where_the_device_is_the_cpu():
    with pytest.raises(UserError, match="GROK_KERNEL is cuda, but the device is cpu"):
        choose_backend(CUDA, CPU, 1)


def test_devices_are_counted_or_their_absence_explained():
    count, reason = cuda_devices()
    assert (count > 0) == (reason == "")


@pytest.mark.skipif(cuda_devices()[0] > 0, reason="this machine can run the CUDA kernel")
def test_without_a_driver_the_cuda_kernel_is_refused_in_one_line(grokking):
    with pytest.raises(UserError, match=r"GROK_KERNEL is 'cuda', which cannot run here: ."):
        choice.check(CUDA)
    done = grokking(GROK_KERNEL="cuda")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "cannot run here" in done.stderr


@pytest.mark.parametrize("name", ["torch", *implementations()])
def test_every_kernel_of_the_cpu_passes_the_comparison(name):
    assert disagreement(choose_backend(name, CPU, 2), CPU) == ""


@pytest.mark.parametrize("fault", ["scaled", "shifted", "nan"])
def test_a_kernel_that_computes_something_else_is_found(fault):
    tables = tables_for_comparison()
    right = everything(tables(torch.float32), Reference())
    exact = everything(tables(torch.float64), Reference())
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
    sizes = parity.MODULUS, parity.D_MODEL, parity.HEADS, parity.D_MLP
    folded = fold(Transformer(*sizes, torch.Generator().manual_seed(1)))
    return lambda dtype: Tables(*(table.detach().to(dtype) for table in folded))


def test_a_kernel_that_cannot_run_at_all_is_a_fault_in_words():
    fault = first_use_fault(CPU)
    assert "failed its first use on cpu" in fault or "no CUDA kernel" in fault
