"""What the suite promises of itself: it ends, it is blind to the user's settings, and skips say why."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import warm
from tests.support.environment import ROOT, clean_environment, impossible
from tests.support.needs import NotPermitted, NotPossible, without_network

IN_PYTHON = """
import time

def test_it():
    time.sleep(1e9)

def test_another():
    pass
"""
IN_C = """
import ctypes

def test_it():
    libc, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    while True:  # waits for itself, and holds the interpreter's lock meanwhile
        libc.pthread_mutex_lock(mutex)
"""


def hanging(folder, program, **limits):
    """The finished process of pytest on a program, with the project's configuration."""
    (folder / "test_hanging.py").write_text(program)
    options = [word for name, seconds in limits.items() for word in ("-o", f"{name}={seconds}")]
    configuration = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *configuration, *options, "test_hanging.py"],
        cwd=folder,
        capture_output=True,
        text=True,
    )


def test_a_test_that_hangs_fails_and_the_next_one_runs(tmp_path):
    done = hanging(tmp_path, IN_PYTHON, timeout=1)
    assert done.returncode == 1
    assert "Timeout (>1.0s)" in done.stdout and "1 failed, 1 passed" in done.stdout


def test_a_hang_that_no_signal_ends_ends_the_process_and_is_named(tmp_path):
    done = hanging(tmp_path, IN_C, timeout=1, faulthandler_timeout=2)
    assert done.returncode == 1
    assert "Timeout" in done.stderr and "in test_it" in done.stderr


def test_the_users_settings_are_taken_away_and_a_kernel_can_be_asked_for():
    program = "import os; from tests import conftest; "
    program += "print([n for n in os.environ if n[:5] == 'GROK_'], conftest.TINY['GROK_KERNEL'])"
    given = {"GROK_SEED": "x", "GROK_LR": "1", "GROK_KERNEL": "y", "TEST_KERNEL": "baseline"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **given, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[] baseline\n"


def test_a_missing_tool_fails_where_tools_are_required_and_a_missing_right_never(monkeypatch):
    for required, tool_is_missing in (("0", pytest.skip.Exception), ("1", pytest.fail.Exception)):
        monkeypatch.setenv("REQUIRE_TOOLS", required)
        with pytest.raises(tool_is_missing, match="no tool"):
            impossible(NotPossible("no tool"))
        with pytest.raises(pytest.skip.Exception, match="no right"):
            impossible(NotPermitted("no right"))


def test_where_namespaces_are_forbidden_the_reason_is_handed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotPossible, match="unshare is not installed"):
        without_network()
    unshare = Path(tmp_path / "unshare")
    unshare.write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    unshare.chmod(0o755)
    with pytest.raises(NotPermitted, match="unshare failed: Operation not permitted"):
        without_network()


PROGRAM = """
import os, sys
print(__name__, sys.argv, sys.path[:2], os.getcwd(), os.environ.get("GROK_SEED"), "grokking" in sys.modules)
print("said", sys.dont_write_bytecode, file=sys.stderr)
if sys.argv[1] == "raise":
    raise ValueError("of its own")
sys.exit(int(sys.argv[1]))
"""


@pytest.mark.parametrize("named", [["./program.py"], ["-m", "program"]])
@pytest.mark.parametrize("end", ["0", "3", "raise"])
@pytest.mark.parametrize("bytecode", ["", "1"])
def test_a_fork_is_the_program_that_an_interpreter_would_be(tmp_path, named, end, bytecode):
    (tmp_path / "program.py").write_text(PROGRAM)
    words = [*named, end]
    variables = {"PYTHONPATH": str(tmp_path / "more"), "PYTHONDONTWRITEBYTECODE": bytecode}
    env = clean_environment(GROK_SEED="7", **variables)
    command = [sys.executable, *words]
    real = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    fork = warm.python(*words, cwd=tmp_path, env=env)
    assert (fork.returncode, fork.stdout) == (real.returncode, real.stdout)
    assert fork.stderr.splitlines()[0] == real.stderr.splitlines()[0]
    assert fork.stderr.splitlines()[-1] == real.stderr.splitlines()[-1]


def test_what_an_interpreter_reads_when_it_starts_is_not_asked_of_a_fork(tmp_path):
    env = clean_environment(OMP_NUM_THREADS="3", PYTHONHASHSEED="1", GROK_SEED="7")
    with pytest.raises(AssertionError, match=r"'(OMP_NUM_THREADS|PYTHONHASHSEED)', '"):
        warm.python("-m", "this", cwd=tmp_path, env=env)
