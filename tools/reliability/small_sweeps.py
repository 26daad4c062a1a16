"""Sweeps of tiny runs in a fork, their runs forks of it in turn: torch has been imported already."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from grokking.__main__ import dispatch
from grokking.commands.sweep import main as sweep
from grokking.sweeps import runner
from tools.reliability.forked import TINY, Ended, Fork
from tools.reliability.spoiling import bound_by_permissions

DIVERGING = 1e30  # a weight decay under which a run diverges in a few epochs
SETTINGS = {name: text for name, text in TINY.items() if name != "GROK_NUM_EPOCHS"}
EPOCHS = int(TINY["GROK_NUM_EPOCHS"])


class ForkedProcess:
    """As much of subprocess.Popen as a sweep uses, for a run that is a fork of it."""

    def __init__(self, command: list[str], *, env: dict[str, str], stdout: Any, **_: Any) -> None:
        def body() -> int:
            signal.alarm(600)  # as its sweep
            os.setsid()
            os.dup2(stdout.fileno(), 1), os.dup2(stdout.fileno(), 2)
            os.environ.clear()
            os.environ.update(env)
            return dispatch([])

        self.fork = Fork(body, Path(stdout.name).parents[2] / "stderr")
        self.pid = self.fork.pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and self.fork.has_ended():
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        if self.returncode is None:
            self.returncode = self.fork.wait().code
        return self.returncode


def forked_sweep(
    *arguments: str | Path, folder: Path, before: Callable[[], None] = lambda: None
) -> tuple[Ended, str]:
    """`grokking sweep --jobs 1 --no-reports ARGUMENTS` in a fork that `before` has tampered with.

    Returns how it ended and what it printed; `folder` is for that.
    """
    output = folder / "stdout"

    def body() -> int:
        signal.alarm(600)  # it takes seconds
        bound_by_permissions()
        os.environ.update(SETTINGS)
        runner.POLL_SECONDS = 0.01
        forking = SimpleNamespace(**vars(subprocess) | {"Popen": ForkedProcess})
        patch.object(runner, "subprocess", forking).start()
        with output.open("w") as file:
            os.dup2(file.fileno(), 1)
        before()
        return sweep(["--jobs", "1", "--no-reports", *map(str, arguments)])

    ended = Fork(body, folder / "stderr").wait()
    return ended, output.read_text()
