"""The kernels as a program without Python (tools/gpu/program), in emulation and compiled by nvcc."""

import re
import subprocess
from collections import Counter

import pytest

from grokking.kernels.compiled import cuda_devices
from tests.support.emulation import FLAVOURS, build
from tests.support.environment import ROOT, require
from tools.gpu.measured import measured
from tools.gpu.parts import kernel_times, sanitizer
from tools.gpu.parts.program import compile_program
from tools.gpu.roofline import works

SOURCE = ROOT / "tools" / "gpu" / "program" / "kernels.cu"
SMALL = ("5,1,33,20,3", "9,3,40,60,7")


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """The program over emulated kernels, as it is and for the sanitizers."""
    require("g++")
    folder = tmp_path_factory.mktemp("programs")
    return {name: build(folder / name, *flags, source=SOURCE) for name, flags in FLAVOURS.items()}


def execute(program, *arguments):
    return subprocess.run([program, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_call_runs_clean_to_its_end(programs, flavour):
    done = execute(programs[flavour], "run", *SMALL)
    assert (done.returncode, done.stdout) == (0, f"{sanitizer.FINISHED}\n"), done.stderr


def test_every_kernel_of_every_call_is_timed_and_has_a_bound(programs):
    done = execute(programs["plain"], "time", "2", SMALL[0])
    assert (done.returncode, done.stderr) == (0, "")
    times = kernel_times.parse(done.stdout)
    assert times["device"]["device"] == "an emulated GPU"
    assert [c["ceiling"] for c in times["ceilings"]] == ["empty kernel", "copy", "read from L2"]
    calls = {"evaluate all": 25, "evaluate the rest": 5, "pair_loss": 20, "activations": 25}
    assert {call["call"]: call["pairs"] for call in times["calls"]} == calls
    launches = Counter((kernel["call"], kernel["kernel"]) for kernel in times["kernels"])
    assert launches == {(work.call, work.kernel): work.launches for work in works()}
    assert len(measured({"kernel_times": times})) == len(works())


def test_no_kernel_lacks_a_name(programs):
    kernels = (ROOT / "csrc" / "grid_kernels.cuh").read_text()
    declared = re.findall(r"__global__ void (?:__launch_bounds__\(THREADS\)\s*)?(\w+)\(", kernels)
    named = re.findall(r"NAMED\((\w+)\),", (SOURCE.parent / "observed.h").read_text())
    assert sorted(named) == sorted(declared)


@pytest.mark.parametrize(
    ("tool", "flavour", "report"),
    [
        ("memcheck", "address", "heap-buffer-overflow"),
        ("racecheck", "thread", "data race"),
        ("synccheck", "plain", "mask leaves out a lane"),
    ],
)
def test_the_planted_faults_are_faults(programs, tool, flavour, report):
    done = execute(programs[flavour], "plant", tool)
    assert done.returncode != 0
    assert report in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        *((), ("run",), ("run", "5,1,33,20"), ("run", "5,1,33,25,3"), ("run", "5,1,33,20,34")),
        *(("time", "0", SMALL[0]), ("time", "2"), ("time", "2", *SMALL), ("paint", "x")),
    ],
)
def test_wrong_arguments_are_refused(programs, arguments):
    done = execute(programs["plain"], *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: kernels run PROBLEM")


def test_nvcc_compiles_it_without_a_warning_and_it_says_whether_there_is_a_gpu(tmp_path):
    require("nvcc")
    strict = ["--compiler-options", "-Wall,-Wextra,-Werror"]
    compile_program(tmp_path / "kernels", "-Werror", "all-warnings", *strict)
    done = execute(tmp_path / "kernels", "run", *SMALL)
    count, reason = cuda_devices()
    if count == 0:
        assert (done.returncode, done.stdout) == (77, "")
        assert "CUDA" in done.stderr and reason
    else:
        assert (done.returncode, done.stdout) == (0, f"{sanitizer.FINISHED}\n")
