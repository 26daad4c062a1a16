"""The benchmark on machines that lack something: it goes on without, and says what and why."""

import json
import subprocess
import sys

import pytest

from tests.support.environment import ROOT, clean_environment

SCRIPTS = ROOT / "scripts"
sys.path.insert(0, str(SCRIPTS))

import bench_machine  # noqa: E402
import bench_report  # noqa: E402

CONTESTANTS = """
import json
import bench

peers, left_out = bench.contestants(bench.make_task(7), 1, compiled=True)
bench.check_parity(peers)
print(json.dumps([[peer.name for peer in peers], left_out]))
"""


def python(program, *arguments, **variables):
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=clean_environment(PYTHONPATH=f"{ROOT}:{SCRIPTS}", **variables),
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_compiler_the_compiled_peer_is_left_out_with_the_reason(tmp_path):
    done = python(CONTESTANTS, CXX="/nowhere/c++", TORCHINDUCTOR_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    peers, left_out = json.loads(done.stdout)
    assert peers[:2] == ["textbook PyTorch", "last position, eager"]
    assert "No working C++ compiler" in left_out.pop("last position, compiled")
    assert set(left_out) <= {"TransformerLens"} and ("TransformerLens" in peers) != bool(left_out)


@pytest.mark.parametrize(
    ("compiler", "told"),
    [
        ("/nowhere/c++", "/nowhere/c++ cannot be run: No such file or directory"),
        ("false", "false failed: exit code 1"),
    ],
)
def test_a_library_that_cannot_be_compiled_is_a_reason_of_one_line(
    tmp_path, monkeypatch, compiler, told
):
    monkeypatch.setenv("CXX", compiler)
    with pytest.raises(RuntimeError) as error:
        bench_machine.preload_avx512_mkl(tmp_path)
    assert str(error.value) == told


def test_of_a_page_of_complaints_the_first_line_and_the_first_error_are_told():
    page = "\nCppCompileError: C++ compile error\n\nCommand:\ng++ a b\n\ng++: fatal error: no a\n"
    assert bench_machine.fault(page) == "CppCompileError: C++ compile error: g++: fatal error: no a"
    assert bench_machine.fault("one\n") == "one"


def results(**changes):
    """What bench.py measured on a machine that has nothing but the kernel and plain PyTorch."""
    times = {"textbook PyTorch": 20.0, "kernel avx2": 2.0}
    found = dict.fromkeys(("epoch", "late epoch", "evaluate", "surfaces", "tables"), times)
    found |= {"tables_peak_gflops": None, "left_out": {"last position, compiled": "no | compiler"}}
    machine = ("processor", "family", "cores", "avx512", "system", "python", "torch", "numpy")
    return {
        "command": "bench",
        "machine": dict.fromkeys((*machine, "transformer-lens", "date"), "?"),
        "rounds": 5,
        "kernel": "avx2",
        "threads": {"1": found},
        "threads_avx512_mkl": None,
        "not_measured": {"FMA peak": "no c++", "MKL's AVX-512 path": "no c++"},
        "scaling": [],
        "evaluate_extra_mb": {},
        "gflop": {"evaluate": 1.6},
        "trained": {
            "epochs": [0, 128],
            "phases": {"1": {"folding": 1.0, "the step's call": 3.0, "AdamW": 1.0}},
            "against": None,
            "builds": {},
        },
        **changes,
    }


def test_the_table_tells_who_is_left_out_and_why():
    text = bench_report.markdown(results())
    assert "| textbook PyTorch " + 4 * "| 20.00 (10.0x) " + "|" in text
    assert "| last position, compiled | left out: no \\| compiler |  |  |  |" in text
    assert "The FMA peak could not be measured (no c++)." in text
    assert "MKL's AVX-512 path could not be switched on (no c++)." in text
    assert "peers are timed once" in bench_report.markdown(
        results(not_measured={"FMA peak": "no c++"})
    )


def test_the_parts_of_an_epoch_are_shares_of_it():
    text = bench_report.markdown(results())
    assert "| of it, called alone: folding | 1.00 (25%) |" in text
    assert "| the step's call | 3.00 (75%) |" in text
    assert "Against another build" not in text


def test_two_builds_stand_side_by_side_with_their_ratio():
    times = {
        "0": {"the other": 6.0, "this build": 4.0},
        "128": {"the other": 6.0, "this build": 2.0},
    }
    trained = {**results()["trained"], "against": "0" * 40, "builds": {"1": {"step": times}}}
    text = bench_report.markdown(results(trained=trained))
    assert (
        "| 0 | 6.00 -> 4.00 (1.50x) |\n| 128 | 6.00 -> 2.00 (3.00x) |\n| mean | 6.00 -> 3.00 (2.00x) |"
        in text
    )


AGAINST_ITSELF = """
import json, sys
from pathlib import Path

import bench_builds, bench_states
from grokking.kernels.choice import choose_on_cpu

states = Path(sys.argv[1]) / "states.pt"
bench_states.train_states(choose_on_cpu("baseline", 1), (0, 2), states)
bench_builds.REPEATS = 1
times = bench_builds.compare_builds(bench_builds.ROOT, states, "baseline", 1, [0, 2], 1)
print(json.dumps([times, bench_builds.phases(states, "baseline", 1, [2], 1)]))
"""


def test_epochs_of_two_builds_and_their_parts_are_timed_in_turns(tmp_path):
    done = python(AGAINST_ITSELF, tmp_path)
    assert done.returncode == 0, done.stderr
    times, parts = json.loads(done.stdout)
    assert set(times) == {"step", "probed", "surfaces"}
    for by_epoch in times.values():
        assert set(by_epoch) == {"0", "2"}
        for of in by_epoch.values():
            assert set(of) == {"the other", "this build"} and min(of.values()) > 0
    assert {"folding", "the step's call", "validation", "AdamW"} < set(parts)
    assert min(parts.values()) > 0


def test_a_commit_that_is_none_is_refused_in_one_line():
    done = python(
        "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')",
        SCRIPTS / "bench.py",
        "--against",
        "nonesuch",
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --against is 'nonesuch', expected a commit of this repository\n"


WITHOUT_KERNEL = """
import runpy, sys
sys.modules["grokking._C"] = None
sys.argv[0] = "bench.py"
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "error: there is no kernel to compare: "),
        (["--quik"], 2, "error: unrecognized arguments: --quik (see bench.py --help)\n"),
        (["--out", __file__], 1, f"error: cannot write into {__file__}: Not a directory; choose"),
    ],
)
def test_what_cannot_be_measured_or_written_is_one_line(arguments, code, told):
    done = python(WITHOUT_KERNEL, SCRIPTS / "bench.py", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(told) and done.stderr.count("\n") == 1
