"""Why a command failed reaches the process that started it."""

import json
import os
import subprocess
import sys

from grokking.system.failure import ask, tell, told
from tests.support.environment import ROOT, clean_environment


def test_a_command_that_fails_tells_whoever_asked(tmp_path):
    path = tmp_path / "failure.json"
    asked = ask(path) | {"GROK_MODULUS": "x", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "grokking", "doctor"]
    done = subprocess.run(
        command, env=clean_environment(**asked), capture_output=True, text=True, check=False
    )
    record = json.loads(path.read_text())
    assert record["exit_code"] == done.returncode == 2
    assert f"error: {record['message']}\n" == done.stderr
    assert told(path, 2) == record["message"] and record["message"].startswith(
        "GROK_MODULUS is 'x'"
    )
    ask(path)
    assert not path.exists()


def test_where_no_record_can_be_left_the_exit_code_is_told(tmp_path, monkeypatch):
    ((name, value),) = ask(tmp_path / "no" / "failure.json").items()
    monkeypatch.setenv(name, value)
    tell("a message", 1)
    assert told(tmp_path / "no" / "failure.json", -9) == "exit code -9"
    (tmp_path / "damaged").write_text("[]")
    assert told(tmp_path / "damaged", 1) == "exit code 1"
    assert not os.path.exists(value)
