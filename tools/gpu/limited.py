"""A command with a hard limit, at whose end nothing is left of what it started. Linux only."""

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

GRACE = 3.0  # seconds between SIGTERM and SIGKILL, of the limit
PATIENCE = 3.0  # seconds that SIGKILL may take; a process that waits for a driver can outlive it
HEAD, TAIL = 500_000, 20_000  # bytes of output that are kept

SET_CHILD_SUBREAPER = 36  # prctl(2)


class Ended(NamedTuple):
    """How a command ended."""

    code: int | None  # None: stopped at its limit
    seconds: float
    tail: str  # the end of what it printed
    survived: bool  # is there a process of it that could not be killed?


def run(
    command: Sequence[str | Path],
    seconds: float,
    folder: Path,
    environment: Mapping[str, str],
    log: IO[bytes],
) -> Ended:
    """Run a command in a folder and a process group of its own, and end everything that it started.

    Standard output and error go to `log`, their beginning and their end if there is much of it.
    The limit includes the time in which a SIGTERM may be obeyed. This process adopts orphans, and
    every descendant of it is ended: it should have no children of its own.
    """
    ctypes.CDLL(None).prctl(SET_CHILD_SUBREAPER, 1)
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        cwd=folder,
        start_new_session=True,
    )
    assert process.stdout is not None
    transcript = Transcript(process.stdout, log)
    code, grace = None, min(GRACE, seconds / 4)
    try:
        with suppress(subprocess.TimeoutExpired):
            code = process.wait(max(0.0, seconds - grace))
    finally:
        survived = not end_descendants(grace)
        _reap(process)
        transcript.close(PATIENCE if survived else None)
    return Ended(code, time.monotonic() - began, transcript.tail(), survived)


def end_descendants(grace: float = GRACE) -> bool:
    """SIGTERM, then SIGKILL, to everything this process has started; True if nothing is left."""
    told: set[int] = set()  # once: a program may take a second SIGTERM for impatience
    until = time.monotonic() + grace
    while (alive := descendants()) and time.monotonic() < until:
        for pid in alive - told:
            _signal(pid, signal.SIGTERM)
        told |= alive
        time.sleep(0.02)
    until = time.monotonic() + PATIENCE
    while (alive := descendants()) and time.monotonic() < until:
        for pid in alive:
            _signal(pid, signal.SIGKILL)
        time.sleep(0.02)
    return not alive


def descendants() -> set[int]:
    """Processes whose chain of parents leads here, but those that are dead and not yet reaped."""
    children: dict[int, list[int]] = {}
    dead = set()
    for entry in Path("/proc").iterdir():
        with suppress(OSError, ValueError):  # it ends while it is looked at
            if entry.name.isdigit():
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                children.setdefault(int(parent), []).append(int(entry.name))
                if state == "Z":
                    dead.add(int(entry.name))
    found, waiting = set(), [os.getpid()]
    while waiting:
        of_this = children.get(waiting.pop(), [])
        found.update(of_this)
        waiting.extend(of_this)
    return found - dead


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _reap(child: "subprocess.Popen[bytes]") -> None:
    with suppress(subprocess.TimeoutExpired):
        child.wait(0)
    with suppress(ChildProcessError):
        while child.returncode is not None and os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


class Transcript:
    """Copies a pipe to a file: its first HEAD bytes as they come, its last TAIL bytes at the end."""

    def __init__(self, pipe: IO[bytes], log: IO[bytes]) -> None:
        self._pipe, self._log = pipe, log
        self._end, self._seen = b"", 0
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        with suppress(ValueError):  # a survivor writes on when the log is closed
            while chunk := os.read(self._pipe.fileno(), 65536):
                self._log.write(chunk[: max(0, HEAD - self._seen)])
                self._log.flush()
                self._seen += len(chunk)
                self._end = (self._end + chunk)[-TAIL:]

    def close(self, patience: float | None) -> None:
        """Wait for the pipe's end, not for ever if a survivor may hold it; write what is owed."""
        self._thread.join(patience)
        left_out = self._seen - HEAD - TAIL
        if left_out > 0:
            self._log.write(f"\n[... {left_out} bytes left out ...]\n".encode())
        if self._seen > HEAD:
            self._log.write(self._end[-(self._seen - HEAD) :])
        self._log.flush()

    def tail(self) -> str:
        """The last that was printed, as text."""
        return self._end.decode(errors="replace")
