"""What is done to a fork: its n-th operation on the disk fails, or kills it; an epoch sends a signal."""

import builtins
import errno
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grokking.training.engine import FoldedEngine, PlainEngine, TrainingStep
from tools.reliability.forked import Fork

ERRORS = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO)  # of a disk
_OPERATIONS: list[tuple[Any, str]] = [
    *((os, name) for name in ("open", "replace", "fsync", "fdopen")),
    (tempfile, "mkstemp"),
    *((Path, name) for name in ("mkdir", "open", "unlink", "rename", "rmdir", "iterdir")),
    (builtins, "open"),
]


class Halving:
    """A file whose every write is made in two halves, with `between` called in between."""

    def __init__(self, file: Any, between: Callable[[], None]) -> None:
        self.file, self.between = file, between

    def write(self, data: Any) -> int:
        half = len(data) // 2
        self.file.write(data[:half])
        self.file.flush()
        self.between()
        self.file.write(data[half:])
        return len(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> "Halving":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def at_file_operation(
    number: int, act: Callable[[], None], after: bool = False, within_writes: bool = False
) -> list[str]:
    """Let `act` happen before (or after) the number-th operation on the disk from now on.

    `within_writes`: every write counts as one too, in the middle of which it happens. Returns the
    list that the name of each operation is added to.
    """
    reached: list[str] = []

    def in_a_write() -> None:
        reached.append("write")
        if len(reached) == number:
            act()

    def tamper(function: Callable[..., Any]) -> Callable[..., Any]:
        def tampered(*args: Any, **kwargs: Any) -> Any:
            if args and str(args[0]) in (os.devnull, "/dev/urandom"):
                return function(*args, **kwargs)
            reached.append(function.__name__)
            due = len(reached) == number
            if due and not after:
                act()
            result = function(*args, **kwargs)
            if due and after:
                act()
            writes = within_writes and hasattr(result, "writable") and result.writable()
            return Halving(result, in_a_write) if writes else result

        return tampered

    for owner, name in _OPERATIONS:
        setattr(owner, name, tamper(getattr(owner, name)))
    return reached


def operations(body: Callable[[], int | None], folder: Path, within_writes: bool = False) -> int:
    """How many operations on the disk a fork makes that runs `body` undisturbed."""
    count = folder / "count"

    def counted() -> int | None:
        reached = at_file_operation(0, die, within_writes=within_writes)
        code = body()
        made = len(reached)  # before the next line adds to it
        count.write_text(str(made))
        return code

    ended = Fork(counted, folder / "stderr").wait()
    assert ended.code == 0, ended.errors
    return int(count.read_text())


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail_with(number: int) -> Callable[[], None]:
    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail


def at_epoch(epoch: int, act: Callable[[TrainingStep], TrainingStep]) -> None:
    """Let `act` replace what the training step of `epoch` returns."""
    for kind in (PlainEngine, FoldedEngine):
        original = kind.training_step

        def changed(
            self: Any, *rest: Any, original: Any = original, **options: Any
        ) -> TrainingStep:
            step: TrainingStep = original(self, *rest, **options)
            counted.append(None)
            return act(step) if len(counted) == epoch + 1 else step

        kind.training_step = changed  # type: ignore[method-assign]
    counted: list[None] = []


def signalling(number: int) -> Callable[[TrainingStep], TrainingStep]:
    def act(step: TrainingStep) -> TrainingStep:
        os.kill(os.getpid(), number)
        return step

    return act
