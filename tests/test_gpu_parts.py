"""The parts of the one call: what each makes of its tools, as far as that needs no GPU."""

import gc
import inspect
import json
import os
import signal
import subprocess
import sys
import time
import weakref
import zipfile
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
import torch

import build_cuda
from grokking.kernels.choice import choose_on_cpu
from grokking.kernels.cuda import Cuda
from tests.support import warm
from tests.support.environment import ROOT, clean_environment
from tests.support.tiny import TINY
from tools.gpu import surroundings
from tools.gpu import tables as gpu_tables
from tools.gpu.one_call import last_line
from tools.gpu.parts import (
    build,
    counters,
    epochs,
    first_use,
    gpu_tests,
    kernel_times,
    whole_run,
)
from tools.gpu.parts.part import Missing


def stand_in(path: Path, body: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)
    return path


def run_part(tmp_path, module, *arguments, **variables):
    """(finished process, result or None) of one part, with the stand-ins of tmp_path/bin."""
    result = tmp_path / "result.json"
    words = ["-m", "tools.gpu.parts", module, result, *arguments]
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    env = clean_environment(**{"PYTHONPATH": str(ROOT), "PATH": path, **variables})
    if "PYTHONPATH" in variables:  # to packages in the place of those that a fork has imported
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    else:
        done = warm.python(*words, cwd=ROOT, env=env)
    return done, json.loads(result.read_text()) if result.exists() else None


def reason(done):
    return last_line(done.stdout + done.stderr)


# --- compute-sanitizer ------------------------------------------------------------------------

NONE, THREE = "========= ERROR SUMMARY: 0 errors", "========= ERROR SUMMARY: 3 errors"


@pytest.mark.parametrize(
    ("on_run", "on_plant", "code", "words", "result"),
    [
        (f'"$@"; echo "{NONE}"', f'echo "{THREE}"; exit 9', 0, "nothing found", (0, True)),
        (
            f'"$@"; echo "{NONE}"',
            f'echo "{NONE}"',
            0,
            "memcheck: nothing found, the planted fault neither",
            (0, False),
        ),
        (f'"$@"; echo "{NONE}"', "exit 1", 0, "the planted fault neither", (0, False)),
        (f'"$@"; echo "{THREE}"; exit 9', "", 1, "memcheck reports 3 errors", (3, None)),
        ('"$@"', "", 1, "memcheck printed no summary (exit code 0)", (None, None)),
        ("head -c 99 /dev/urandom", "", 1, "memcheck printed no summary", (None, None)),
        (f'echo "{NONE}"', "", 1, "kernels.cu did not finish (exit code 0)", (0, None)),
        (f'"$@"; echo "{NONE}"; exit 1', "", 1, "did not finish (exit code 1)", (0, None)),
        ("exit 77", "", 77, "kernels.cu finds no GPU", (None, None)),
    ],
)
def test_a_sanitizer_is_believed_if_it_watched_the_program_to_its_end(
    tmp_path, on_run, on_plant, code, words, result
):
    stand_in(tmp_path / "kernels", 'echo "every call finished"')
    sanitizer = f"shift 4; case $* in *plant*) {on_plant or ':'} ;; *) {on_run} ;; esac"
    stand_in(tmp_path / "bin" / "compute-sanitizer", sanitizer)
    done, found = run_part(tmp_path, "sanitizer", "memcheck")
    assert (done.returncode, words in reason(done)) == (code, True), reason(done)
    assert (found["errors"], found["planted_fault_reported"]) == result


def test_racechecks_hazards_are_counted(tmp_path):
    stand_in(tmp_path / "kernels", 'echo "every call finished"')
    summary = "========= RACECHECK SUMMARY: 2 hazards displayed (1 error, 1 warning)"
    stand_in(tmp_path / "bin" / "compute-sanitizer", f'echo "{summary}"')
    done, found = run_part(tmp_path, "sanitizer", "racecheck")
    assert (done.returncode, found["errors"]) == (1, 2)


def test_a_program_that_was_not_compiled_and_a_tool_that_is_not_there_are_missing(tmp_path):
    done, _ = run_part(tmp_path, "sanitizer", "memcheck")
    assert (done.returncode, "was not compiled" in reason(done)) == (77, True)
    stand_in(tmp_path / "kernels", "exit 0")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bash").symlink_to("/bin/bash")
    done, _ = run_part(tmp_path, "counters", PATH=str(tmp_path / "bin"))
    assert (done.returncode, reason(done)) == (77, "no ncu on PATH or in CUDA's usual folders")


# --- times of kernels -------------------------------------------------------------------------

TIMES = """\
{"device": "a GPU", "compute_capability": "9.0", "multiprocessors": 132, "clock_khz": 1980000}
{"ceiling": "empty kernel", "bytes": 0, "microseconds": 1.9}
{"call": "pair_loss", "pairs": 3830, "microseconds": 70.5}
{"call": "pair_loss", "pairs": 3830, "kernel": "attend", "blocks": 120, "microseconds": 2.5}
"""


def test_times_are_sorted_by_what_they_are_about():
    times = kernel_times.parse(TIMES)
    assert times["device"]["multiprocessors"] == 132
    assert [entry["ceiling"] for entry in times["ceilings"]] == ["empty kernel"]
    assert [entry["microseconds"] for entry in times["calls"]] == [70.5]
    assert [entry["kernel"] for entry in times["kernels"]] == ["attend"]


@pytest.mark.parametrize(
    "line",
    ["nonsense", "[1]", "7", '{"call": "x"}', '{"call": "x", "microseconds": "7"}']
    + [f'{{"call": "x", "microseconds": {time}}}' for time in ("0", "-1", "NaN", "Infinity")],
)
def test_a_line_that_is_no_time_is_refused(line):
    with pytest.raises(SystemExit, match="expected a time in JSON"):
        kernel_times.parse(f"{TIMES}{line}\n")


def test_what_was_timed_before_the_program_broke_is_kept(tmp_path):
    stand_in(tmp_path / "kernels", f"cat <<'END'\n{TIMES}END\nexit 1")
    done, found = run_part(tmp_path, "kernel_times")
    assert (done.returncode, reason(done)) == (
        1,
        "kernels.cu stopped before it had timed everything (1)",
    )
    assert found["calls"] == kernel_times.parse(TIMES)["calls"]


# --- ncu --------------------------------------------------------------------------------------


def page_of_ncu(*rows):
    """ncu's raw page for launches given as (kernel, grid, value of every metric)."""
    metrics = [f"{prefix}avg.pct_of_peak_sustained_active" for prefix in counters.METRICS.values()]
    metrics.insert(0, "breakdown:sm__throughput.avg.pct_of_peak_sustained_elapsed")
    head = ["ID", "Kernel Name", "Block Size", "Grid Size", *metrics]
    units = ["", "", "", "", "%", "ns", *["%"] * (len(metrics) - 2)]
    values = (["0", k, "(128, 1, 1)", g, "99", *[v] * (len(metrics) - 1)] for k, g, v in rows)
    lines = [head, units, *values]
    csv = "\n".join(",".join(f'"{cell}"' for cell in line) for line in lines)
    return f"==PROF== Connected to process 7\nevery call finished\n==PROF== Disconnected\n{csv}\n"


def test_what_ncu_counts_is_read_with_its_thousands_and_its_gaps():
    name = "void grid::cuda::logits_of_pairs(grid::cuda::Sizes, const long *)"
    page = page_of_ncu(
        (name, "(400, 1, 1)", "1,234.5"), ("weight_gradient", "(16, 1, 15)", "n/a"), ("other", "(1, 1, 1)", "3")
    )  # fmt: skip
    first, second = counters.parse(page)
    assert (first["kernel"], first["blocks"], first["nanoseconds"]) == (
        "logits_of_pairs",
        400,
        1234.5,
    )
    assert (second["kernel"], second["blocks"], second["arithmetic"]) == (
        "weight_gradient",
        240,
        None,
    )


@pytest.mark.parametrize("text", ["", "nonsense", '"a","b"\n"1"\n', '"Kernel Name"\n"attend"\n'])
def test_nonsense_of_ncu_is_nothing(text):
    assert counters.parse(text) == []


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (
            "echo '==ERROR== ERR_NVGPUCTRPERM - no permission'; exit 1",
            1,
            "ERR_NVGPUCTRPERM - no permission",
        ),
        ("echo nonsense", 1, "ncu counted nothing (exit code 0)"),
        ("exit 77", 77, "kernels.cu finds no GPU that it could run on"),
    ],
)
def test_why_ncu_could_not_count_is_said(tmp_path, body, code, words):
    stand_in(tmp_path / "kernels", "exit 0")
    stand_in(tmp_path / "bin" / "ncu", body)
    done, _ = run_part(tmp_path, "counters")
    assert (done.returncode, reason(done)) == (code, words)


# --- epochs -----------------------------------------------------------------------------------


@pytest.fixture
def experiment():
    """A small experiment on the CPU, with whatever kernel it has."""
    backend = choose_on_cpu("auto", 1)
    if backend.reason:
        pytest.skip(f"no kernel on this machine: {backend.reason}")
    return epochs.Experiment(torch.device("cpu"), backend, 11, 12, 3, 17)


def test_the_kernel_and_plain_pytorch_train_alike(experiment):
    plain = epochs.plain_epoch(experiment, compiled=False)
    ways = {"kernel": epochs.ours(experiment), "eager": plain.epoch}
    epochs.check_parity(ways)
    first, second = (float(ways["kernel"]()) for _ in range(2))
    assert second < first


def test_a_way_that_computes_something_else_is_refused(experiment):
    other = epochs.plain_epoch(experiment._replace(d_mlp=16), compiled=False)
    with pytest.raises(SystemExit, match="other computes the losses"):
        epochs.check_parity({"kernel": epochs.ours(experiment), "other": other.epoch})
    nan = torch.tensor(torch.nan)
    with pytest.raises(SystemExit, match="nan computes"):
        epochs.check_parity({"kernel": epochs.ours(experiment), "nan": lambda: nan})


def test_capturing_an_epoch_leaves_weights_and_moments_as_they_were(experiment, monkeypatch):
    class Stream:
        def wait_stream(self, _):
            pass

    @contextmanager
    def inside(_):
        yield

    replays = []
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", inside)
    monkeypatch.setattr(torch.cuda, "graph", inside)
    graph = type("Graph", (), {"replay": lambda self: replays.append(self)})
    monkeypatch.setattr(torch.cuda, "CUDAGraph", graph)
    fresh = epochs.plain_epoch(experiment, compiled=False)
    used = epochs.plain_epoch(experiment, compiled=False)
    replay = epochs.captured(used)
    replay()
    assert len(replays) == 1
    for _ in range(2):  # as if nothing had been trained
        assert torch.equal(used.epoch(), fresh.epoch())
    pairs = weakref.ref(inspect.getclosurevars(used.epoch).nonlocals["train"][0])
    weights = weakref.ref(next(used.model.parameters()))
    del used
    gc.collect()
    assert pairs() is not None and weights() is not None  # the graph holds their addresses


@pytest.mark.parametrize(
    ("which", "ways"),
    [
        ("eager", ["kernel", "eager", "eager, CUDA graph"]),
        ("compiled", ["kernel", "compiled", "compiled, CUDA graph"]),
    ],
)
def test_the_part_times_every_way(experiment, tmp_path, monkeypatch, which, ways):
    monkeypatch.setattr(epochs, "gpus", lambda: [experiment.device])
    monkeypatch.setattr(epochs, "Experiment", lambda _: experiment)
    monkeypatch.setattr(epochs, "captured", lambda plain: plain.epoch)
    monkeypatch.setattr(epochs, "on_device", lambda job: (job(), 2.0)[1])
    monkeypatch.setattr(epochs, "PRODUCT", 1000)
    monkeypatch.setattr(torch.cuda, "device", lambda _: nullcontext())
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: function)
    epochs.main(tmp_path / "result.json", which)
    found = json.loads((tmp_path / "result.json").read_text())
    assert found["milliseconds"] == dict.fromkeys(ways, 2.0)
    assert found.get("matrix_product_tflops") == (1.0 if which == "eager" else None)


def test_the_clock_is_two_events_around_the_job(monkeypatch):
    told = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            told.append("record")

        def synchronize(self):
            told.append("synchronize")

        def elapsed_time(self, end):
            assert end is not self
            return 7

    monkeypatch.setattr(torch.cuda, "Event", Event)
    assert epochs.on_device(lambda: told.append("job")) == 7.0
    assert told == ["record", "job", "record", "synchronize"]


def test_medians_of_the_rounds_after_the_warm_up():
    calls = []

    def clock(job):
        job()
        return 1000.0 if len(calls) <= 2 * epochs.WARM_UP else float(len(calls))

    ways = {name: lambda name=name: calls.append(name) for name in ("a", "b")}
    medians = epochs.measure(ways, clock)
    assert calls == ["a", "b"] * (epochs.WARM_UP + epochs.ROUNDS)
    middle = 2 * epochs.WARM_UP + epochs.ROUNDS
    assert medians == {"a": float(middle), "b": float(middle + 1)}


# --- a whole run ------------------------------------------------------------------------------


@pytest.fixture
def tiny_run(tmp_path, monkeypatch):
    """whole_run.main on the CPU with a tiny run, which may have other settings."""
    pytest.importorskip("plotly")
    monkeypatch.setattr(whole_run, "check_kernel", lambda _: None)

    def start(**settings):
        monkeypatch.setattr(whole_run, "SETTINGS", {**TINY, "GROK_SEED": "7", **settings})
        return whole_run.main(tmp_path / "cpu_run.json", "cpu")

    before = signal.getsignal(signal.SIGTERM)
    yield start
    signal.signal(signal.SIGTERM, before)


def test_a_run_that_did_not_grok_leaves_its_figures_and_says_so(tiny_run, tmp_path):
    with pytest.raises(SystemExit, match="had not grokked by epoch 12"):
        tiny_run()
    summary = json.loads((tmp_path / "cpu_run.json").read_text())
    assert (summary["seed"], summary["final_epoch"], summary["grok_epoch"]) == (7, 12, None)
    assert summary["epochs_per_second"] > 0
    with pytest.raises(SystemExit, match="ran on plain PyTorch"):
        whole_run.check_outcome(summary, tmp_path / "cpu_run", "cuda")
    whole_run.check_outcome({**summary, "grok_epoch": 9}, tmp_path / "cpu_run", "cpu")


def test_a_run_that_is_stopped_leaves_the_figures_it_had(tmp_path):
    program = (
        "import sys; from pathlib import Path; from tools.gpu.parts import whole_run\n"
        "whole_run.check_kernel = lambda _: None\n"
        f"whole_run.SETTINGS = { ({**TINY, 'GROK_SEED': '7', 'GROK_NUM_EPOCHS': '1000000'})!r}\n"
        "whole_run.main(Path(sys.argv[1]), 'cpu')\n"
    )
    part = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "cpu_run.json"],
        env=clean_environment(PYTHONPATH=str(ROOT)),
        start_new_session=True,
    )
    while not (tmp_path / "cpu_run" / "checkpoint_previous.pt").exists():
        assert part.poll() is None
        time.sleep(0.1)
    os.killpg(part.pid, signal.SIGTERM)
    assert part.wait() == 128 + signal.SIGTERM
    figures = json.loads((tmp_path / "cpu_run.json").read_text())
    assert (figures["seed"], figures["grok_epoch"]) == (7, None)
    assert figures["final_epoch"] > 0 and figures["epochs_per_second"] > 0
    assert "not by epoch" in gpu_tables.runs({"parts": [], "results": {"cpu_run": figures}})


def test_the_settings_of_the_run_need_no_permission():
    from grokking.config import load

    config = load(whole_run.SETTINGS).config
    assert (config.probe_every, config.stop_after_grok, config.trajectory) == (10, 0, False)


# --- what is missing --------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize(
    ("module", "arguments"),
    [("machine", []), ("first_use", []), ("gpu_tests", []), ("epochs", ["eager"])],
)
def test_without_a_gpu_each_part_says_so(tmp_path, module, arguments):
    done, found = run_part(tmp_path, module, *arguments)
    assert done.returncode == 77, done.stderr
    assert f"torch {torch.__version__} sees no" in reason(done) or "no GPU" in reason(done)
    assert found is None or found["torch"]["devices"] == []


def test_a_tool_that_does_not_answer_costs_the_machine_part_a_moment(tmp_path, monkeypatch):
    from tools.gpu.parts import machine

    monkeypatch.setattr(machine, "SECONDS", 0.2)
    hanging = stand_in(tmp_path / "hanging", "sleep 1000 & wait")
    assert machine.ask(str(hanging), "--version") is None
    assert machine.ask(str(tmp_path / "absent")) is None
    nonsense = stand_in(tmp_path / "nonsense", r"printf '\xff\xfe'")
    assert machine.ask(str(nonsense)) == "��"


def test_the_version_is_found_among_what_a_tool_says():
    from tools.gpu.parts.machine import version_line

    nvcc = "nvcc: NVIDIA (R) Cuda compiler driver\nBuilt on Wed\nCuda compilation tools, release 13.0, V13.0.88"
    assert version_line(nvcc) == "Cuda compilation tools, release 13.0, V13.0.88"
    assert version_line("g++ (Debian) 12.2.0\nCopyright") == "g++ (Debian) 12.2.0"
    assert version_line(None) is None


@pytest.mark.parametrize(
    ("package", "part"),
    [("torch", ["epochs", "eager"]), ("pytest", ["gpu_tests"]), ("plotly", ["whole_run", "cpu"])],
)
def test_a_package_that_is_not_installed_is_missing(tmp_path, package, part):
    absent = tmp_path / "absent"
    absent.mkdir()
    text = f"raise ModuleNotFoundError('No module named {package}', name='{package}')\n"
    (absent / f"{package}.py").write_text(text)
    done, _ = run_part(tmp_path, *part, PYTHONPATH=f"{absent}:{ROOT}")
    assert (done.returncode, done.stderr) == (77, "")
    assert done.stdout == f"{package} is missing from {sys.executable}\n"


def test_no_compiler_is_missing_and_one_that_cannot_serve_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(build_cuda, "candidates", lambda *_: iter([]))
    with pytest.raises(Missing, match="no nvcc in"):
        build.check_compiler()
    nonsense = stand_in(tmp_path / "nvcc", "head -c 99 /dev/urandom")
    monkeypatch.setattr(build_cuda, "candidates", lambda *_: iter([nonsense]))
    with pytest.raises(SystemExit, match="compiles for nothing newer"):
        build.check_compiler()


def test_the_cpus_build_is_not_made_again_beside_the_whole_one(tmp_path):
    (tmp_path / "build.json").write_text('{"cuda": true}')
    done, found = run_part(tmp_path, "build", "without-cuda")
    assert (done.returncode, found) == (0, None)
    assert "not needed" in done.stdout


# --- parity and tests -------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["", "the gradient of B is off by 7"])
def test_the_first_use_is_recorded_and_a_fault_is_the_reason(tmp_path, monkeypatch, fault):
    monkeypatch.setattr(first_use, "gpus", lambda: [torch.device("cuda:0")])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device}")
    monkeypatch.setattr("grokking.kernels.parity.first_use_fault", lambda _: fault)
    with pytest.raises(SystemExit) as ended:
        first_use.main(tmp_path / "result.json")
    assert ended.value.code == (fault or None)
    found = json.loads((tmp_path / "result.json").read_text())
    assert found == {"devices": [{"device": "GPU cuda:0", "fault": fault}]}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_tests_that_are_skipped_have_not_passed(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_tests, "gpus", list)
    with pytest.raises(SystemExit, match=r"^0 of \d+ tests passed"):
        gpu_tests.main(tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text())["passed"] == 0


def test_tests_are_counted_from_pytests_report(tmp_path):
    report = tmp_path / "report.xml"
    with pytest.raises(SystemExit, match="wrote no report"):
        gpu_tests.count(report)
    report.write_text(
        '<testsuites><testsuite tests="9" failures="1" errors="2" skipped="3"/></testsuites>'
    )
    assert gpu_tests.count(report) == {"tests": 9, "passed": 3}


# --- surroundings -----------------------------------------------------------------------------


def make_wheel(folder, name):
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "answer = 42\n")


def test_a_carried_wheel_serves_where_the_package_is_missing_and_only_there(tmp_path):
    for name in ("no_such_package", "numpy"):
        make_wheel(tmp_path / "wheels", name)
    (tmp_path / "wheels" / "broken-2.0-py3-none-any.whl").write_text("nonsense")
    told = surroundings.unpack_wheels(tmp_path / "site", tmp_path / "wheels")
    assert told == [
        "broken-2.0-py3-none-any.whl cannot be unpacked: File is not a zip file",
        "no_such_package 1.0 comes from a carried wheel",
    ]
    assert (tmp_path / "site" / "no_such_package" / "__init__.py").exists()
    assert not (tmp_path / "site" / "numpy").exists()


def test_the_carried_versions_are_those_of_the_requirements():
    def pins(path):
        lines = (line.split("==") for line in path.read_text().splitlines() if "==" in line)
        return {name: version for name, version in lines if ";" not in version}

    carried, required = (
        pins(surroundings.WHEELS.with_suffix(".txt")),
        pins(ROOT / "requirements.txt"),
    )
    shared = carried.keys() & required.keys()
    assert "plotly" in shared
    assert {name: carried[name] for name in shared} == {name: required[name] for name in shared}


def test_without_wheels_nothing_is_unpacked(tmp_path):
    assert surroundings.unpack_wheels(tmp_path / "site", tmp_path / "absent") == []


def test_parts_get_the_callers_paths_first_and_none_of_its_settings(tmp_path):
    inherited = {
        "GROK_SEED": "7",
        "PATH": "/mine",
        "PYTHONPATH": "/packages",
        "CUDA_HOME": "/cuda",
        "HOME": "/me",
    }
    made = surroundings.environment(tmp_path, inherited)
    assert made["PATH"].split(":")[:2] == ["/mine", "/cuda/bin"]
    assert made["PYTHONPATH"].split(":") == [str(ROOT), "/packages", str(tmp_path / "site")]
    assert "GROK_SEED" not in made and made["HOME"] == "/me"
    assert Path(made["TMPDIR"]).is_dir()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo\n\n  \n", "two"),
        ("", ""),
        ("\x1b[31mred\x1b[0m\x07", "[31mred[0m"),
        ("x" * 999, "x" * 300),
        (
            "torch.AcceleratorError: CUDA error: device-side assert triggered\n"
            "Search for `cudaErrorAssert' in https://docs.nvidia.com for more information.\n"
            "CUDA kernel errors might be asynchronously reported at some other API call.\n"
            "For debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
            "Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n",
            "torch.AcceleratorError: CUDA error: device-side assert triggered",
        ),
    ],
)
def test_a_reason_is_one_printable_line(text, expected):
    assert last_line(text) == expected


def test_kernel_of_the_experiment_is_cudas():
    assert epochs.Experiment(torch.device("cpu")).backend == Cuda()
