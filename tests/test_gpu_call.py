"""The one call on a GPU, rehearsed without one: whatever its parts do, gpu.json says it."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.environment import ROOT, clean_environment
from tools.gpu import one_call, plan
from tools.gpu.record import sources_sha256

# main() with other parts: modules of the package `fakes`, each named like what it does.
DRIVER = """
import json, sys
from grokking.commands.cli import run_main
from tools.gpu import one_call, plan
plan.PARTS = tuple(plan.Part(name, limit, name) for name, limit in json.loads(sys.argv[1]))
one_call.PACKAGE = "fakes"
sys.exit(run_main(lambda: one_call.main(sys.argv[2:])))
"""
FAKES = {
    "good": "write('[1, 2]'); print('all is well')",
    "lacking": "print('no such tool'); sys.exit(77)",
    "raising": "raise ValueError('wrong\\x1b[31m number')",
    "babbling": "write('{\"x\": NaN}'); sys.stdout.buffer.write(bytes(range(256))); sys.exit(3)",
    "crashing": "os.kill(os.getpid(), signal.SIGSEGV)",
    "silent": "sys.exit(1)",
    "hanging": (
        "write('{\"half\": 1}'); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        "Path(os.environ['PIDS']).write_text(f'{os.getpid()} {child.pid}')\n"
        "print('begun', flush=True); time.sleep(1000)"
    ),
}


@pytest.fixture
def call(tmp_path):
    """Starts a call with fake parts, given as {name: limit}."""
    package = tmp_path / "fakes"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import runpy, sys; runpy.run_module(f'fakes.{sys.argv.pop(1)}', run_name='__main__')\n"
    )
    head = "import os, signal, subprocess, sys, time\nfrom pathlib import Path\n"
    head += "write = Path(sys.argv[1]).write_text\n"
    for name, body in FAKES.items():
        (package / f"{name}.py").write_text(head + body)

    def start(parts, *arguments):
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, json.dumps(list(parts.items())), *map(str, arguments)],
            env=clean_environment(PYTHONPATH=f"{ROOT}:{tmp_path}", PIDS=str(tmp_path / "pids")),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def strict(path):
    def refuse(constant):
        raise ValueError(constant)

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def assert_valid(record, names):
    """What DESIGN promises of every gpu.json."""
    assert record["schema_version"] == 1
    assert [part["name"] for part in record["parts"]] == list(names)
    for part in record["parts"]:
        assert part["state"] in ("done", "missing", "failed", "timeout")
        assert part["seconds"] >= 0
        assert (part["reason"] is None) == (part["state"] == "done")


def assert_gone(pids):
    for pid in pids.read_text().split():
        stat = Path("/proc", pid, "stat")
        assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_no_part_is_lost_to_what_another_does(call, tmp_path):
    others = [name for name in FAKES if name not in ("hanging", "good")]
    parts = {"hanging": 12, **dict.fromkeys([*others, "good"], 60)}
    process = call(parts, tmp_path / "out")
    _, errors = process.communicate()
    assert (process.returncode, errors) == (1, "")
    record = strict(tmp_path / "out" / "gpu.json")
    assert_valid(record, parts)
    endings = {part["name"]: (part["state"], part["reason"]) for part in record["parts"]}
    assert endings["lacking"] == ("missing", "no such tool")
    assert endings["raising"] == ("failed", "ValueError: wrong[31m number")
    assert endings["babbling"][0] == "failed"
    assert endings["babbling"][1].isprintable()
    assert endings["crashing"] == ("failed", "ended by signal 11; last line: it printed nothing")
    assert endings["silent"] == ("failed", "it printed nothing")
    assert endings["hanging"] == ("timeout", "stopped at its limit; last line: begun")
    assert endings["good"] == ("done", None)
    assert record["results"]["good"] == [1, 2]
    assert record["results"]["hanging"] == {"half": 1}
    assert record["results"]["babbling"] is None
    log = (tmp_path / "out" / "log.txt").read_bytes()
    assert log.index(b"== hanging") < log.index(b"== good") < log.index(b"all is well")
    assert_gone(tmp_path / "pids")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_part_that_runs_and_leaves_a_valid_record(call, tmp_path, number):
    process = call({"good": 60, "hanging": 60, "lacking": 60}, tmp_path / "out")
    wait_for(tmp_path / "pids")
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 128 + number
    assert errors == f"stopped by {number.name}\n"
    record = strict(tmp_path / "out" / "gpu.json")
    assert_valid(record, ["good", "hanging", "lacking"])
    assert [part["state"] for part in record["parts"]] == ["done", "failed", "missing"]
    assert record["parts"][1]["reason"] == "the call was stopped while it ran"
    assert record["parts"][2]["reason"] == "the call ended before it began"
    assert record["results"] == {"good": [1, 2], "hanging": {"half": 1}}
    assert_gone(tmp_path / "pids")


def test_what_was_found_is_on_disk_before_the_next_part_begins(call, tmp_path):
    process = call({"good": 60, "hanging": 60}, tmp_path / "out")
    wait_for(tmp_path / "pids")
    record = strict(tmp_path / "out" / "gpu.json")
    process.terminate()
    process.communicate()
    assert_valid(record, ["good", "hanging"])
    assert record["parts"][0]["state"] == "done"
    assert record["results"] == {"good": [1, 2]}


def wait_for(path):
    """Until the hanging part has said that it hangs."""
    while not path.exists() or len(path.read_text().split()) < 2:
        time.sleep(0.05)


def test_a_second_call_into_a_folder_keeps_what_the_first_has_left(call, tmp_path):
    out = tmp_path / "out"
    for parts in ({"good": 60}, {"lacking": 60}, {"silent": 60}):
        call(parts, out).communicate()
    assert strict(out / "earlier_1" / "gpu.json")["results"] == {"good": [1, 2]}
    assert b"all is well" in (out / "earlier_1" / "log.txt").read_bytes()
    assert strict(out / "earlier_2" / "gpu.json")["parts"][0]["name"] == "lacking"
    assert strict(out / "gpu.json")["parts"][0]["name"] == "silent"


def test_two_calls_at_once_into_one_folder_do_not_mix(call, tmp_path):
    first = call({"hanging": 60}, tmp_path / "out")
    wait_for(tmp_path / "pids")
    second = call({"good": 60}, tmp_path / "out")
    _, errors = second.communicate()
    first.terminate()
    first.communicate()
    assert second.returncode == 2
    assert errors.count("\n") == 1 and "in use by another call" in errors
    assert [part["name"] for part in strict(tmp_path / "out" / "gpu.json")["parts"]] == ["hanging"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "out_dir"),
        (["OUT", "--only", "buidl"], "--only names 'buidl', expected some of machine, build"),
        (["OUT", "--limit", "0"], "--limit is 0, expected more than 0"),
        (["OUT", "--limit", "nan"], "--limit is nan"),
        (["FILE"], "cannot be made a folder"),
    ],
)
def test_wrong_arguments_are_one_line_and_write_nothing(tmp_path, arguments, words):
    (tmp_path / "FILE").touch()
    done = subprocess.run(
        [ROOT / "tools" / "gpu" / "one_call.sh", *arguments],
        cwd=tmp_path,
        env=clean_environment(PYTHON=sys.executable),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert words in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]


def test_a_python_that_is_none_is_one_line(tmp_path):
    done = subprocess.run(
        [ROOT / "tools" / "gpu" / "one_call.sh", tmp_path / "out"],
        env=clean_environment(PYTHON="/no/python"),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "/no/python is no Python" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_limits_of_all_parts_add_up_to_less_than_eight_minutes():
    assert sum(part.limit for part in plan.PARTS) < plan.TOTAL == 8 * 60


def test_every_part_is_a_module_of_its_own():
    assert len({part.name for part in plan.PARTS}) == len(plan.PARTS)
    for part in plan.PARTS:
        assert importlib.util.find_spec(f"{one_call.PACKAGE}.{part.module}") is not None


def test_what_a_part_leaves_of_its_time_goes_to_the_next(tmp_path, monkeypatch):
    parts = [plan.Part("a", 10, "a"), plan.Part("b", 5, "b"), plan.Part("c", 5, "c")]
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    call = one_call.Call(tmp_path, tmp_path, parts)
    assert call.time_for(0) == 10
    monkeypatch.setattr(time, "monotonic", lambda: 103.0)
    assert call.time_for(1) == 12
    monkeypatch.setattr(time, "monotonic", lambda: 115.0)
    assert call.time_for(2) == 5


def test_the_sources_have_one_digest_that_changes_with_them(tmp_path):
    tree = copy_of_the_tree(tmp_path / "tree")
    (tree / "grokking" / "_build_info.py").write_text("FALLBACK = 'built elsewhere'\n")
    assert sources_sha256(tree) == sources_sha256(ROOT)
    with (tree / "csrc" / "grid_kernels.cuh").open("a") as file:
        file.write("// changed\n")
    assert sources_sha256(tree) != sources_sha256(ROOT)


# --- the real parts, on a day when everything goes wrong --------------------------------------

STAND_INS = {
    "nvidia-smi": "printf 'Failed to initialize NVML\\n'; exit 9",
    "cc": "echo 'fatal error: no such luck' >&2; exit 1",
    "nvcc": """
case "$*" in
  *--list-gpu-arch*) echo compute_90 ;;
  *--dryrun*) echo "#$ LIBRARIES= \\"-L$(dirname "$0")\\"" >&2 ;;
  *kernels.cu*) while [ "$1" != -o ]; do shift; done; cp "$(dirname "$0")/kernels" "$2" ;;
  *) (trap "" TERM; echo $$ > "$PIDS"; while :; do sleep 1; done) ;;
esac""",
    "kernels": "[ \"$1\" = time ] && echo '{\"device\": nonsense}' || echo 'every call finished'",
    "compute-sanitizer": """
tool=$2; shift 4
case $tool in
  memcheck) "$@"; errors=0; case $* in *plant*) errors=1 ;; esac
            echo "========= ERROR SUMMARY: $errors errors" ;;
  racecheck) "$@"; echo "========= RACECHECK SUMMARY: 3 hazards displayed (3 errors, 0 warnings)"; exit 9 ;;
  initcheck) head -c 1000 /dev/urandom ;;
  *) echo "========= Error: Device not supported" ; exit 1 ;;
esac""",
    "ncu": "echo '==ERROR== ERR_NVGPUCTRPERM - no permission'; exit 1",
}  # fmt: skip


def copy_of_the_tree(folder):
    """The sources alone: no extension, no environment."""
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "_build_info.py", "wheels", ".wheels.*")
    for name in ("csrc", "grokking", "tools", "tests", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("setup.py", "build_cpu.py", "build_cuda.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    return folder


def test_the_whole_call_on_a_day_when_everything_goes_wrong(tmp_path):
    tree, bin_folder = copy_of_the_tree(tmp_path / "tree"), tmp_path / "bin"
    bin_folder.mkdir()
    for name, body in STAND_INS.items():
        for alias in ("cc", "c++", "gcc", "g++") if name == "cc" else (name,):
            (bin_folder / alias).write_text(f"#!/bin/bash\n{body}\n")
            (bin_folder / alias).chmod(0o755)
    (bin_folder / "libcudart_static.a").touch()
    for decoy in ("grokking", "tools", "torch"):
        (tmp_path / "elsewhere" / decoy).mkdir(parents=True)
        (tmp_path / "elsewhere" / decoy / "__init__.py").write_text("raise SystemExit(decoy)")
    done = subprocess.run(
        [tree / "tools" / "gpu" / "one_call.sh", "../out", "--limit", "12"],
        cwd=tmp_path / "elsewhere",
        env=clean_environment(
            PYTHON=sys.executable,
            PATH=f"{bin_folder}:{os.environ['PATH']}",
            CC=str(bin_folder / "cc"),
            CXX=str(bin_folder / "c++"),
            CUDA_VISIBLE_DEVICES="",
            PIDS=str(tmp_path / "pids"),
            GROK_NUM_EPOCHS="1",
        ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    record = strict(tmp_path / "out" / "gpu.json")
    assert_valid(record, [part.name for part in plan.PARTS])
    endings = {part["name"]: (part["state"], part["reason"]) for part in record["parts"]}
    done_parts = {name for name, (state, _) in endings.items() if state == "done"}
    assert done_parts == {"program", "memcheck", "report"}
    assert endings["build"][0] == "timeout"
    assert_gone(tmp_path / "pids")
    assert endings["build_without_cuda"] == ("failed", "fatal error: no such luck")
    assert endings["racecheck"] == ("failed", "racecheck reports 3 errors")
    assert endings["initcheck"] == ("failed", "initcheck printed no summary (exit code 0)")
    assert endings["synccheck"] == ("failed", "synccheck printed no summary (exit code 1)")
    assert "nonsense" in endings["kernel_times"][1]
    assert endings["cpu_run"][0] == "missing"
    assert endings["counters"] == ("failed", "ERR_NVGPUCTRPERM - no permission")
    assert endings["roofline"] == ("missing", "no kernel was timed")
    page = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "memcheck: nothing found; a planted fault is reported." in page
    assert page in done.stdout
