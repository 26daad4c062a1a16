"""A command with a hard limit: what it started is gone, what it printed is kept, within bounds."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support.environment import ROOT, clean_environment
from tools.gpu import limited

# In a process of its own, because every descendant of it is ended.
DRIVER = """
import json, os, sys
from pathlib import Path
from tools.gpu import limited
with open(sys.argv[1], "wb") as log:
    ended = limited.run(sys.argv[3:], float(sys.argv[2]), "/", os.environ, log)
print(json.dumps([ended.code, ended.tail, ended.survived, sorted(limited.descendants())]))
"""


def run(tmp_path, seconds, *command):
    """(exit code or None, end of the output, the whole log) of a command, which left nothing."""
    log = tmp_path / "log"
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, log, str(seconds), *command],
        env=clean_environment(PYTHONPATH=str(ROOT), FOLDER=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    code, tail, survived, left = json.loads(done.stdout)
    assert (survived, left) == (False, [])
    return code, tail, log.read_bytes()


def is_running(pid_file: Path) -> bool:
    stat = Path("/proc", pid_file.read_text().strip(), "stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_exit_code_and_output_of_a_command_that_ends_by_itself(tmp_path):
    code, tail, log = run(tmp_path, 60, "bash", "-c", "echo out; echo error >&2; exit 5")
    assert (code, tail, log) == (5, "out\nerror\n", b"out\nerror\n")


def test_a_grandchild_in_a_session_of_its_own_that_ignores_sigterm_is_killed(tmp_path):
    stubborn = "trap '' TERM HUP; echo $$ > $FOLDER/pid; while :; do sleep 0.1; done"
    script = f'setsid bash -c "{stubborn.replace("$", chr(92) + "$")}" & trap "" TERM; wait'
    code, _, _ = run(tmp_path, 8, "bash", "-c", script)
    assert code is None
    assert not is_running(tmp_path / "pid")


def test_a_daemon_that_a_finished_command_leaves_behind_is_killed(tmp_path):
    script = "setsid sleep 1000 & echo $! > $FOLDER/pid; exit 0"
    code, _, _ = run(tmp_path, 60, "bash", "-c", script)
    assert code == 0
    assert not is_running(tmp_path / "pid")


def test_sigterm_comes_once_and_what_obeys_it_may_say_so(tmp_path):
    script = (
        "import signal, time\n"
        "def stop(*_):\n"
        "    print('saved', flush=True)\n"
        "    time.sleep(0.3)\n"
        "    raise SystemExit\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "while True: time.sleep(1)\n"
    )
    code, tail, _ = run(tmp_path, 10, sys.executable, "-c", script)
    assert code is None
    assert tail == "saved\n"


def test_a_flood_of_output_is_cut_in_the_middle(tmp_path):
    code, tail, log = run(tmp_path, 3, "yes", "nonsense")
    assert code is None
    assert set(tail.split()) <= {"nonsense", *("nonsense"[i:] for i in range(9))}
    assert b"bytes left out" in log
    assert len(log) < limited.HEAD + limited.TAIL + 100


def test_what_lies_between_head_and_tail_is_written_once(tmp_path):
    size = limited.HEAD + limited.TAIL // 2
    code, _, log = run(tmp_path, 60, sys.executable, "-c", f"print('x' * {size - 1})")
    assert code == 0
    assert log == b"x" * (size - 1) + b"\n"
