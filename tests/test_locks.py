"""Locks of folders: who is refused, what an error of the system is called, and looking that takes nothing."""

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
import threading

import pytest

from grokking.commands.cli import messages_shown
from grokking.system.errors import RunError, UserError
from grokking.system.locks import is_locked, locked
from tests.support.environment import ROOT, clean_environment
from tests.support.tiny import TINY

LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux can be asked who holds a lock"
)

HOLDER = """
import sys, time
from pathlib import Path
from grokking.system.locks import locked

with locked(Path(sys.argv[1]), "taken", shared=sys.argv[2] == "shared"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["alone", "shared"])
def holder(request, tmp_path):
    """A process that holds the lock of tmp_path, alone or shared."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path, request.param],
        env=clean_environment(PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


@LINUX
def test_a_lock_is_seen_while_it_is_held_and_no_longer(tmp_path, holder):
    assert is_locked(tmp_path)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert not is_locked(tmp_path)


def test_a_held_lock_refuses_at_once_whoever_wants_it_alone(tmp_path, holder):
    with pytest.raises(UserError, match=r"^in use$"), locked(tmp_path, "in use"):
        pass


def test_a_folder_without_a_lock_file_is_not_locked_and_gets_none(tmp_path):
    assert not is_locked(tmp_path)
    assert not is_locked(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_who_looks_makes_no_claim_fail(tmp_path):
    done = threading.Event()

    def look():
        while not done.is_set():
            is_locked(tmp_path)

    lookers = [threading.Thread(target=look) for _ in range(3)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(3000):
            with locked(tmp_path, "somebody looked"):
                pass
    finally:
        done.set()
        for looker in lookers:
            looker.join()


def failing(number):
    """flock(2) as it ends where it cannot do its work."""

    def flock(handle, operation):
        raise OSError(number, os.strerror(number))

    return flock


@pytest.mark.parametrize("name", ["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EINVAL"])
def test_without_locks_the_work_goes_on_and_what_is_not_guarded_is_said(
    tmp_path, monkeypatch, caplog, name
):
    number = getattr(errno, name)
    monkeypatch.setattr(fcntl, "flock", failing(number))
    with messages_shown(), locked(tmp_path, "in use"):
        assert not is_locked(tmp_path), "would be waited for"
    assert caplog.messages == [
        f"no lock on {tmp_path}, its file system has none ({os.strerror(number)}): nothing keeps "
        "another run or sweep out of this folder, so start no second one there"
    ]


def test_another_error_is_told_as_what_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(errno.EIO))
    told = f"cannot lock {tmp_path}/.lock: {os.strerror(errno.EIO)}"
    with pytest.raises(RunError, match=re.escape(told)), locked(tmp_path, "in use"):
        pass


def test_a_lock_file_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / ".lock").mkdir()
    told = f"cannot use {tmp_path}/.lock: {os.strerror(errno.EISDIR)}"
    with pytest.raises(RunError, match=re.escape(told)), locked(tmp_path, "in use"):
        pass


WITHOUT_LOCKS = """
import errno, fcntl, os, sys

def flock(handle, operation):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

fcntl.flock = flock
from grokking.__main__ import main
sys.exit(main())
"""


def test_a_run_goes_on_in_a_folder_without_locks(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_LOCKS],
        cwd=tmp_path,
        env=clean_environment(PYTHONPATH=str(ROOT), **TINY),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "lock" in line] == [
        f"no lock on artifacts, its file system has none ({os.strerror(errno.ENOLCK)}): nothing keeps "
        "another run or sweep out of this folder, so start no second one there"
    ]
    assert (tmp_path / "artifacts" / "grokking.json").exists()
