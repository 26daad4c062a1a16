"""The doctor: what it says of a healthy machine, and of each thing that can be wrong with one."""

import builtins
import importlib.metadata
import re

import pytest
import torch

from grokking.commands import doctor
from grokking.commands.doctor import Check, main
from grokking.config import Config
from grokking.kernels import choice, compiled, parity
from grokking.kernels.compiled import implementations
from grokking.system.errors import UserError
from tests.support.environment import unavailable

FALLBACK = "the extension was not built (run: pip install -e .)"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(doctor, "SECONDS", 0.0)


def test_a_healthy_machine_gets_one_screen_and_exit_code_0(capsys):
    if not implementations():
        unavailable("the extension is not built")
    assert main([]) == 0
    screen = capsys.readouterr().out
    assert screen.endswith("\nall is well\n") and "->" not in screen
    assert f"torch {torch.__version__}" in screen
    assert f"CPU kernel      {next(iter(implementations()))}, " in screen
    for name in implementations():
        assert f"parity          {name} computes what float64 does" in screen
    assert re.search(r"speed           \d+ GFLOP/s on one core", screen)
    assert len(screen.splitlines()) < 24 and max(map(len, screen.splitlines())) < 160


def test_a_kernel_that_computes_otherwise_is_named_with_a_remedy(monkeypatch, capsys):
    if not implementations():
        unavailable("the extension is not built")
    everything = parity.everything

    def wrong(tables, backend):
        values = everything(tables, backend)
        if backend.name == "baseline":
            values["logits"][5] *= 1.01
        return values

    monkeypatch.setattr(parity, "everything", wrong)
    assert main([]) == 1
    screen = capsys.readouterr().out
    assert re.search(r"parity +baseline disagrees with plain PyTorch on cpu: logits is off", screen)
    assert "-> use GROK_KERNEL=torch, and report this line (baseline)" in screen
    assert screen.count("->") == 1 and screen.endswith("\n1 to mend, see the arrows\n")


def test_without_the_extension_it_says_why_and_how_to_get_it(monkeypatch, capsys):
    for user in (compiled, choice):
        monkeypatch.setattr(user, "load_extension", lambda: (None, FALLBACK))
    monkeypatch.setenv("GROK_THREADS", "1")
    assert main([]) == 1
    screen = capsys.readouterr().out
    assert f"CPU kernel      plain PyTorch, because {FALLBACK}; 1 thread\n" in screen
    assert "-> install a C++ compiler" in screen and "GFLOP/s" not in screen


def test_a_missing_package_is_named_with_its_install_command(monkeypatch, capsys):
    version = importlib.metadata.version

    def without_plotly(name):
        if name == "plotly":
            raise importlib.metadata.PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(importlib.metadata, "version", without_plotly)
    assert main([]) == 1
    assert "missing         plotly\n" in (screen := capsys.readouterr().out)
    assert "-> pip install plotly\n" in screen


def test_what_cannot_be_checked_without_a_package_is_said_without_a_traceback(monkeypatch, capsys):
    load = builtins.__import__

    def without_torch(name, *rest):
        if name == "torch":
            raise ImportError("No module named 'torch'")
        return load(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_torch)
    told = {finding.what: finding.told for finding in doctor.checks(Config())}
    assert told["graphics"] == told["parity"] == "not checked: No module named 'torch'"


def test_a_gpu_that_the_kernel_cannot_use_is_a_finding(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "GPU 9000")
    for user in (compiled, choice):
        monkeypatch.setattr(user, "cuda_devices", lambda: (0, "built without CUDA"))
    gpu, fault = doctor.graphics(Config())
    assert gpu == Check("GPU", "GPU 9000; runs go there by themselves")
    assert fault.told == (
        "plain PyTorch, because the CUDA kernel cannot run here: built without CUDA"
    )
    assert "docs/cuda.md" in fault.remedy and "GROK_DEVICE=cpu" in fault.remedy


@pytest.mark.parametrize(
    ("variable", "value", "words", "code"),
    [
        (
            "GROK_KERNEL",
            "torch",
            "plain PyTorch, because GROK_KERNEL=torch asks for it; 3 threads",
            0,
        ),
        ("GROK_KERNEL", "avx1024", "GROK_KERNEL is 'avx1024', expected one of auto, torch", 1),
        ("GROK_DEVICE", "cpu", "runs go to the CPU: as GROK_DEVICE=cpu asks", 0),
        ("GROK_DEVICE", "cuda:99", "GROK_DEVICE is cuda:99, but torch", 1),
    ],
)
def test_it_speaks_of_the_kernel_device_and_threads_that_a_run_would_use(
    monkeypatch, capsys, variable, value, words, code
):
    """What the variables choose, not what they would choose if they were not set."""
    if not implementations():
        unavailable("the extension is not built")
    monkeypatch.setenv("GROK_THREADS", "3")
    monkeypatch.setenv(variable, value)
    assert main([]) == code
    screen = capsys.readouterr().out
    assert words in screen
    assert ("3 threads" in screen) == (value != "avx1024")


def test_unknown_arguments_are_refused():
    with pytest.raises(UserError, match="unrecognized arguments"):
        main(["--all"])
