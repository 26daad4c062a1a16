"""Locks of folders: who holds one is alone in it, and a holder that is killed blocks nobody."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grokking.errors import RunError, UserError

LOCK_FILE = ".lock"


@contextmanager
def locked(directory: Path, refusal: str, shared: bool = False) -> Iterator[None]:
    """Hold the lock of a folder that is there, alone or with others that share it.

    UserError(refusal), at once, if somebody holds it otherwise; RunError if the folder cannot be used.
    """
    try:
        handle = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise RunError(f"cannot use {directory}: {error.strerror}") from error
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise UserError(refusal) from error
    try:
        yield
    finally:
        os.close(handle)


def is_locked(directory: Path) -> bool:
    """Does somebody hold the folder's lock? False if it has none."""
    if not (directory / LOCK_FILE).exists():
        return False
    try:
        with locked(directory, "held"):
            return False
    except UserError:
        return True
