"""Tiny runs as forks of one process that has imported torch, and what they leave in their folder.

A fork copies the calling thread alone: whatever the others held or were to do, it waits for in vain. So
drivers fork from a process of their own that has no other threads, and never from that of the tests.
"""

import contextlib
import io
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from grokking import config
from grokking.commands.cli import run_main
from grokking.commands.train import train_one
from grokking.files.checkpoint import load_checkpoint
from grokking.files.json_files import read_json
from tests.support import tiny

TINY = tiny.TINY | {  # with more moments to be cut off at
    "GROK_NUM_EPOCHS": "24",
    "GROK_CHECKPOINT_EVERY": "3",
    "GROK_KERNEL": "torch",
    "GROK_NEURONS": "0,5",
}
TIMES = {"seconds", "epochs_per_second"}  # differ between equal runs


class Ended(NamedTuple):
    """How a fork ended: exit code, or minus the signal's number; what it printed to stderr."""

    code: int
    errors: str


class Fork:
    """A child of this process that runs `body` and exits with what run_main makes of it."""

    def __init__(self, body: Callable[[], int | None], folder: Path) -> None:
        preload()
        folder.mkdir(parents=True, exist_ok=True)
        self.errors = folder / f"stderr_{random.getrandbits(64):x}"
        threads = len(os.listdir("/proc/self/task"))
        assert threads == 1, f"{threads} threads, but only one of them would be in the fork"
        self.pid = os.fork()
        if self.pid == 0:
            code = 97
            try:
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                null = os.open(os.devnull, os.O_WRONLY)
                errors = os.open(self.errors, os.O_WRONLY | os.O_CREAT)
                os.dup2(null, 1), os.dup2(errors, 2)
                sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
                sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
                code = run_main(body)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)

    def has_ended(self) -> bool:
        """Without reaping it."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self) -> Ended:
        _, status = os.waitpid(self.pid, 0)
        text = self.errors.read_text(errors="replace") if self.errors.exists() else ""
        self.errors.unlink(missing_ok=True)
        return Ended(os.waitstatus_to_exitcode(status), text)


@cache
def preload() -> None:
    """Import, by one run on a single thread, whatever torch imports only when it is used."""
    quiet = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(quiet),
        contextlib.redirect_stderr(quiet),
    ):
        train(Path(folder) / "run")


def train(directory: Path, **variables: str) -> int:
    """The tiny run of `directory`, in this process."""
    torch.set_num_threads(1)
    return train_one(config.load({**TINY, "GROK_ARTIFACTS_DIR": str(directory), **variables}))


def forked_run(
    directory: Path, before: Callable[[], object] = lambda: None, /, **variables: str
) -> Ended:
    """The tiny run in a fork, after `before` has tampered with that fork."""

    def body() -> int:
        before()
        return train(directory, **variables)

    return Fork(body, directory.parent / "stderr").wait()


def timed_run(directory: Path) -> float:
    """Seconds that an uninterrupted tiny run takes in a fork."""
    preload()
    began = time.monotonic()
    ended = forked_run(directory)
    assert ended.code == 0, ended.errors
    return time.monotonic() - began


def outcome(directory: Path) -> dict[str, Any]:
    """Everything a finished run has computed: tensors as bytes, histories, labels; no times."""
    found: dict[str, Any] = {}
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.suffix == ".pt" and name != "checkpoint_previous.pt":
            found[name] = plain(load_checkpoint(path))
        elif path.suffix == ".json" and name != "config.json":
            found[name] = {k: v for k, v in read_json(path).items() if k not in TIMES}
        elif path.suffix == ".html":
            found[name] = undated(path)
        elif path.suffix in (".npy", ".js"):
            found[name] = path.read_bytes()
    return found


def undated(page: Path) -> bytes:
    """A page without the date of its run: two equal runs may lie on either side of midnight."""
    return re.sub(rb"<dt>date</dt><dd>[^<]*</dd>", b"", page.read_bytes())


def plain(value: Any) -> Any:
    """A record that == compares bit for bit."""
    if isinstance(value, torch.Tensor):
        raw = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return str(value.dtype), tuple(value.shape), raw
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in TIMES}
    return value


def differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Names of files that one run has and the other has not, or has otherwise."""
    return sorted(
        name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)
    )


def unreadable(directory: Path) -> list[str]:
    """JSON files that are not strict JSON, and labelled or recorded weights that do not load."""
    faults = ((path.name, unreadable_file(path)) for path in directory.rglob("*"))
    return [f"{name}: {fault}" for name, fault in faults if fault]


def unreadable_file(path: Path) -> str:
    """What is wrong with one of those; empty for a good one, or any other file."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_bytes(), parse_constant=_refuse)
        elif path.suffix == ".pt":
            load_checkpoint(path)
    except Exception as error:
        return str(error) or repr(error)
    return ""


def _refuse(name: str) -> None:
    raise ValueError(name)
