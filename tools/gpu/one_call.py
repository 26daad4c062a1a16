"""Everything that only a GPU can show about the CUDA kernel, in one call of under eight minutes.

    tools/gpu/one_call.sh OUT_DIR

builds, proves, measures, and leaves OUT_DIR/gpu.json, report.md and log.txt. Every part is a process
with a limit of its own, what it found is on disk before the next begins, and none is lost to the
failure of another. This program itself needs Linux and Python, nothing else.
"""

import signal
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any, NoReturn

from grokking.commands.cli import Parser, run_main
from grokking.system.errors import UserError
from grokking.system.locks import locked
from tools.gpu import limited
from tools.gpu.parts.part import EXIT_MISSING
from tools.gpu.plan import TOTAL, Part, chosen
from tools.gpu.record import (
    DONE,
    FAILED,
    MISSING,
    ROOT,
    SCHEMA_VERSION,
    TIMEOUT,
    read_result,
    sources_sha256,
    write_json,
)
from tools.gpu.surroundings import environment, unpack_wheels

PACKAGE = "tools.gpu.parts"
FILES = ("gpu.json", "report.md", "log.txt")
REASON = 300  # characters of a reason, at most
HINTS = (  # what torch says after every error of CUDA
    "Search for `cuda",
    "CUDA kernel errors might be asynchronously reported",
    "For debugging consider passing CUDA_LAUNCH_BLOCKING",
    "Compile with `TORCH_USE_CUDA_DSA`",
)


class Stopped(Exception):
    """A signal ended the call."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


def main(arguments: list[str] | None = None) -> int:
    """Make the call; exit code 0 if every part is done, 1 if not, 2 for wrong arguments."""
    options = parse(arguments)
    out: Path = options.out_dir
    with (
        locked(out, f"{out} is in use by another call: wait for it, or name another folder"),
        tempfile.TemporaryDirectory(prefix="grokking_gpu_", ignore_cleanup_errors=True) as work,
        obeying_signals(),
    ):
        set_aside(out)
        return Call(out, Path(work), options.parts).make()


def parse(arguments: list[str] | None) -> Namespace:
    """The checked options, with the folder made and the parts chosen."""
    parser = Parser(prog="one_call.sh", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("out_dir", type=Path, help="folder of gpu.json, report.md and log.txt")
    parser.add_argument("--only", metavar="PART,...", help="these parts alone")
    parser.add_argument(
        "--limit",
        type=float,
        metavar="SECONDS",
        help="no part's own share longer than this, for a rehearsal; what earlier parts leave is added",
    )
    options: Namespace = parser.parse_args(arguments)
    if not sys.platform.startswith("linux"):
        raise UserError(f"this is {sys.platform}, expected Linux: CUDA's tools run nowhere else")
    if options.limit is not None and not 0 < options.limit <= TOTAL:
        raise UserError(f"--limit is {options.limit:g}, expected more than 0 and at most {TOTAL}")
    options.parts = chosen(options.only, options.limit or TOTAL)
    try:
        options.out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{options.out_dir} cannot be made a folder: {error.strerror}") from error
    return options


def set_aside(out: Path) -> None:
    """Move what an earlier call left into a folder of its own: a GPU is too rare to overwrite."""
    earlier = [out / name for name in FILES if (out / name).exists()]
    if not earlier:
        return
    number = next(n for n in range(1, sys.maxsize) if not (out / f"earlier_{n}").exists())
    (out / f"earlier_{number}").mkdir()
    for path in earlier:
        path.rename(out / f"earlier_{number}" / path.name)


@contextmanager
def obeying_signals() -> Iterator[None]:
    """The first signal that asks to stop ends the part that runs, and with it the call."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, _: object) -> NoReturn:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(number)

    for number in numbers:
        signal.signal(number, stop)
    yield


class Call:
    """One call: its record, and the folder in which its parts leave what later ones need."""

    def __init__(self, out: Path, work: Path, parts: list[Part]) -> None:
        self.out, self.work, self.parts = out, work, parts
        self.began = time.monotonic()
        nothing = {"state": MISSING, "seconds": 0.0, "reason": "the call ended before it began"}
        self.endings = [{"name": part.name, "limit": part.limit, **nothing} for part in parts]
        self.record: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "sources_sha256": sources_sha256(),
            "seconds": 0.0,
            "parts": self.endings,
            "results": {},
        }

    def make(self) -> int:
        """Do every part; returns the exit code."""
        self.save()
        with (self.out / "log.txt").open("wb") as log:
            for line in unpack_wheels(self.work / "site"):
                log.write(f"{line}\n".encode())
            try:
                for number, part in enumerate(self.parts):
                    self.attempt(number, part, log)
            except Stopped as stopped:
                limited.end_descendants()  # one that had hardly begun
                print(stopped, file=sys.stderr)
                return stopped.exit_code
        if (self.out / "report.md").exists():
            print(f"\n{(self.out / 'report.md').read_text(encoding='utf-8')}")
        return 0 if all(ending["state"] == DONE for ending in self.endings) else 1

    def attempt(self, number: int, part: Part, log: IO[bytes]) -> None:
        """Do one part, and save what it found and how it ended."""
        log.write(f"\n== {part.name}\n".encode())
        log.flush()
        result = self.work / f"{part.name}.json"
        arguments = [argument.format(out=self.out) for argument in part.arguments]
        command = [sys.executable, "-m", PACKAGE, part.module, str(result), *arguments]
        ending = {"state": FAILED, "seconds": 0.0, "reason": "the call was stopped while it ran"}
        try:
            ended = limited.run(command, self.time_for(number), ROOT, environment(self.work), log)
            state, reason = outcome(ended)
            ending = {"state": state, "seconds": round(ended.seconds, 1), "reason": reason}
        finally:
            self.endings[number] |= ending
            self.record["results"][part.name] = read_result(result)
            self.save()
        print(f"{part.name:<20}{state:<9}{ended.seconds:6.1f} s  {reason or ''}", flush=True)

    def time_for(self, number: int) -> float:
        """Seconds until all parts up to this one would have taken their limits.

        So what one leaves of its time goes to those that follow, and the whole keeps to its sum.
        """
        limits = [part.limit for part in self.parts[: number + 1]]
        return self.began + sum(limits) - time.monotonic()

    def save(self) -> None:
        self.record["seconds"] = round(time.monotonic() - self.began, 1)
        write_json(self.out / "gpu.json", self.record)


def outcome(ended: limited.Ended) -> tuple[str, str | None]:
    """(state, reason) of a part that ended."""
    said = last_line(ended.tail) or "it printed nothing"
    if ended.survived:
        said += " (a process of it could not be killed)"
    if ended.code is None:
        return TIMEOUT, f"stopped at its limit; last line: {said}"
    if ended.code == EXIT_MISSING:
        return MISSING, said
    if ended.code < 0:
        return FAILED, f"ended by signal {-ended.code}; last line: {said}"
    return (DONE, None) if ended.code == 0 else (FAILED, said)


def last_line(text: str) -> str:
    """The last line that says something, without what no terminal should get."""
    lines = ("".join(filter(str.isprintable, line)).strip() for line in text.splitlines())
    return ([line for line in lines if line and not line.startswith(HINTS)] or [""])[-1][:REASON]


if __name__ == "__main__":
    sys.exit(run_main(main))
