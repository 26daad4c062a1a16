"""How the build finds a CUDA compiler, what it compiles for, and that the kernels compile cleanly."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import build_cuda
from tests.support.environment import ROOT, clean_environment, require
from tools.gpu import resources, roofline

LISTED = "compute_60\ncompute_75\ncompute_80\ncompute_86\ncompute_90\ncompute_121\n"


def fake_nvcc(folder: Path, listed: str = LISTED, runtime: bool = True) -> Path:
    """A toolkit whose nvcc answers the two questions the build asks; it compiles nothing."""
    libraries = folder / "targets" / "lib"
    libraries.mkdir(parents=True)
    if runtime:
        (libraries / "libcudart_static.a").touch()
    nvcc = folder / "bin" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text(
        "#!/bin/sh\n"
        f"[ \"$1\" = --list-gpu-arch ] && printf '{listed}' && exit\n"
        f'[ "$1" = --dryrun ] && echo \'#$ LIBRARIES= "-L{libraries}/stubs" "-L{libraries}"\' >&2 && exit\n'
        "echo 'grid_cuda.cu(1): error: no such luck' >&2; exit 1\n"
    )
    nvcc.chmod(0o755)
    return nvcc


def test_the_users_word_comes_before_path_before_the_usual_place_before_wheels(tmp_path):
    on_path, in_wheel = (
        fake_nvcc(tmp_path / "path"),
        fake_nvcc(tmp_path / "site" / "nvidia" / "cu13"),
    )
    environment = {"CUDA_HOME": "/a", "CUDA_PATH": "/b", "PATH": str(on_path.parent)}
    found = list(build_cuda.candidates(environment, tmp_path / "site"))
    assert found == [Path("/a/bin/nvcc"), Path("/b/bin/nvcc"), on_path, build_cuda.USUAL, in_wheel]


def test_a_toolkit_is_its_compiler_its_architectures_and_its_static_runtime(tmp_path):
    nvcc = fake_nvcc(tmp_path / "cuda")
    toolkit = build_cuda.find_toolkit({"CUDA_HOME": str(tmp_path / "cuda")}, tmp_path)
    assert toolkit == build_cuda.Toolkit(
        nvcc, [75, 80, 86, 90, 121], tmp_path / "cuda" / "targets" / "lib"
    )


@pytest.mark.parametrize(
    ("listed", "runtime", "reason"),
    [
        ("compute_60\n", True, "nothing newer than compute capability 7.0"),
        (LISTED, False, "without libcudart_static.a"),
    ],
)
def test_a_toolkit_that_cannot_serve_says_why(tmp_path, listed, runtime, reason):
    fake_nvcc(tmp_path / "cuda", listed, runtime)
    with pytest.raises(build_cuda.NoToolkit, match=reason):
        build_cuda.find_toolkit({"CUDA_HOME": str(tmp_path / "cuda")}, tmp_path)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"#!/bin/sh\nprintf '\\377\\376'\n", "compiles for nothing newer"),
        (b"#!/bin/sh\nprintf '\\377\\376' >&2; exit 1\n", "failed"),
        (b"\x7fELF nonsense", "cannot be run: Exec format error"),
    ],
)
def test_an_nvcc_that_prints_no_text_or_is_no_program_cannot_serve(tmp_path, body, reason):
    nvcc = fake_nvcc(tmp_path / "cuda")
    nvcc.write_bytes(body)
    with pytest.raises(build_cuda.NoToolkit, match=reason):
        build_cuda.find_toolkit({"CUDA_HOME": str(tmp_path / "cuda")}, tmp_path)


def test_without_nvcc_the_reason_names_every_place_that_was_searched(tmp_path, monkeypatch):
    monkeypatch.setattr(build_cuda, "USUAL", tmp_path / "nvcc")
    with pytest.raises(
        build_cuda.NoCompiler, match="CUDA_HOME, CUDA_PATH, PATH, /usr/local/cuda or NVIDIA"
    ):
        build_cuda.find_toolkit({"PATH": str(tmp_path)}, tmp_path)


def test_machine_code_for_one_of_each_generation_and_ptx_for_gpus_to_come():
    assert build_cuda.machine_code([75, 80, 86, 90, 100, 103, 120, 121]) == [
        "-gencode=arch=compute_75,code=sm_75",
        "-gencode=arch=compute_80,code=sm_80",
        "-gencode=arch=compute_90,code=sm_90",
        "-gencode=arch=compute_100,code=sm_100",
        "-gencode=arch=compute_120,code=sm_120",
        "-gencode=arch=compute_120,code=compute_120",
    ]


def test_what_the_compiler_complains_of_is_passed_on(tmp_path):
    fake_nvcc(tmp_path / "cuda")
    toolkit = build_cuda.find_toolkit({"CUDA_HOME": str(tmp_path / "cuda")}, tmp_path)
    with pytest.raises(build_cuda.NoToolkit, match="no such luck"):
        build_cuda.compile_kernels(toolkit, ROOT / "csrc", tmp_path / "grid_cuda.o")


def test_a_temporary_folder_with_a_space_in_its_name_is_kept_from_nvcc(tmp_path, monkeypatch):
    """There `nvcc --threads 0` cannot open its own temporary files."""
    shown = tmp_path / "shown"
    shown.write_text('#!/bin/sh\necho "$TMPDIR"\n')
    shown.chmod(0o755)
    for folder, told in (("/with a space", "/tmp"), ("/without", "/without")):
        monkeypatch.setattr("tempfile.tempdir", folder)
        assert build_cuda.output_of([shown]).stdout == f"{told}\n"


def test_kernels_are_compiled_again_only_after_a_change(tmp_path):
    old, new, missing = (tmp_path / name for name in ("old", "new", "missing"))
    for age, path in ((10, old), (20, new)):
        path.touch()
        os.utime(path, (age, age))
    assert build_cuda.is_newer(new, [old])
    assert not build_cuda.is_newer(old, [old, new])
    assert not build_cuda.is_newer(missing, [old])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1", "nvcc could not compile the kernels: grid_cuda.cu(1): error: no such luck"),
        ("2", "GROK_BUILD_CUDA is '2'"),
    ],
)
def test_a_build_that_must_have_cuda_fails_loudly(tmp_path, value, message):
    fake_nvcc(tmp_path / "cuda")
    environment = clean_environment(GROK_BUILD_CUDA=value, CUDA_HOME=str(tmp_path / "cuda"))
    done = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "-b", tmp_path / "lib", "-t", tmp_path / "temp"],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert message in done.stderr
    assert not list(tmp_path.glob("lib/**/*.so"))


REPORT = """\
ptxas info    : Compiling entry function '_ZN4grid4cuda6attendENS0_5SizesENS_8TablesOfIKfEE' for 'sm_90'
ptxas info    : Function properties for _ZN4grid4cuda6attendENS0_5SizesENS_8TablesOfIKfEE
    16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 22 registers, used 0 barriers
"""


def test_the_assemblers_report_is_read():
    assert resources.parse(REPORT) == [resources.Use("attend", 90, 22, 16, 12)]
    assert "| `attend` | 22 |" in resources.table(resources.parse(REPORT))
    assert "Spilled: 12 bytes; stack: 16 bytes" in resources.table(resources.parse(REPORT))


def test_every_kernel_compiles_for_every_architecture_without_warning_spill_or_stack():
    require("nvcc")
    toolkit = build_cuda.find_toolkit()
    uses = resources.parse(resources.compile_strictly(toolkit))
    assert {use.architecture for use in uses} == set(toolkit.architectures)
    kernels = {use.kernel for use in uses}
    assert {"attend", "logits_of_pairs", "score_pairs", "surfaces_of_neurons"} <= kernels
    assert len(uses) == len(kernels) * len(toolkit.architectures)
    for use in uses:
        assert (use.spills, use.stack) == (0, 0), use
        assert use.registers <= 128, (
            f"{use}: fewer than four blocks of 128 threads would fit a multiprocessor"
        )


def test_the_tiles_of_the_roofline_are_those_of_the_launches():
    assert (roofline.ROWS, roofline.COLUMNS, roofline.DEPTH, roofline.WARPS) == (32, 128, 32, 4)
    with pytest.raises(LookupError, match="no constant NONE"):
        roofline.constant("NONE")


def test_no_bound_is_below_the_arithmetic_of_the_formula():
    h100 = roofline.GPUS[0]
    work = roofline.logits("evaluate all", 12769)
    assert work.useful == 12769 * (2 * 512 * 113 + 4 * 4 * (512 + 113))
    time, _ = roofline.bound(work, h100)
    assert time * 1e-6 >= work.useful / (h100.tflops * 1e12)
