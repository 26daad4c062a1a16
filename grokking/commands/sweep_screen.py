"""Live progress of all runs of a sweep on one screen; plain lines without a terminal."""

import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from grokking.system.durations import clock

TERMINAL_INTERVAL, PLAIN_INTERVAL = 0.5, 30.0  # seconds between refreshes
TAIL_BYTES = 4096


class Screen:
    """Events stay; below them, on a terminal, one line per running child is redrawn in place."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.total, self.done, self.drawn = total, 0, 0
        self.began = self.shown = time.monotonic()

    def event(self, text: str) -> None:
        """A line that stays."""
        self._erase()
        print(text, file=self.stream, flush=True)
        self.shown = 0.0 if self.live else self.shown

    def refresh(self, running: Sequence[tuple[str, Path]]) -> None:
        """Show the last line of each running child's log, as often as a person can read."""
        interval = TERMINAL_INTERVAL if self.live else PLAIN_INTERVAL
        if time.monotonic() - self.shown < interval:
            return
        self.shown = time.monotonic()
        lines = [f"{name}  {last_line(log) or 'starting'}" for name, log in running]
        lines.append(
            f"{self.done} of {self.total} runs done, {clock(self.elapsed, hours=True)} so far"
        )
        self._erase()
        width = shutil.get_terminal_size().columns - 1 if self.live else 200
        print("\n".join(line[:width] for line in lines), file=self.stream, flush=True)
        self.drawn = len(lines) if self.live else 0

    def _erase(self) -> None:
        if self.drawn:
            self.stream.write(
                f"\x1b[{self.drawn}F\x1b[J"
            )  # up to the block's first line, clear below
            self.drawn = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the first run was to start."""
        return time.monotonic() - self.began


def last_line(log: Path) -> str:
    """The last line of a growing log that is not empty, without control characters."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            lines = file.read().decode("utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    full = [line.strip() for line in lines if line.strip()]
    return "".join(c for c in full[-1] if c.isprintable()) if full else ""
