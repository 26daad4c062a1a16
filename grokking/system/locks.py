"""Locks of folders: who holds one is alone in it, and a holder that is killed blocks nobody.

The lock is flock(2)'s. Nobody can ask who holds one of those without taking it, and so making a
claim of that moment fail: its holder also puts up an fcntl(2) lock as a sign, which can be looked
at. Both belong to the open file, and go with it.
"""

import errno
import fcntl
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from logging import getLogger
from pathlib import Path

from grokking.system.errors import RunError, UserError

log = getLogger(__name__)
LOCK_FILE = ".lock"
UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
_STRUCT_FLOCK = "hhqqi"  # type, whence, start, length (0: the whole file), pid: fcntl(2) on Linux


@contextmanager
def locked(directory: Path, refusal: str, shared: bool = False) -> Iterator[None]:
    """Hold the lock of a folder that is there, alone or with others that share it.

    UserError(refusal), at once, if somebody holds it otherwise; RunError if the folder cannot be
    used. On a file system without locks the block runs all the same, after a line on stderr.
    """
    path = directory / LOCK_FILE
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise RunError(f"cannot use {path}: {error.strerror}") from error
    try:
        _take(handle, path, refusal, shared)
        yield
    finally:
        os.close(handle)


def _take(handle: int, path: Path, refusal: str, shared: bool) -> None:
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError as error:  # EWOULDBLOCK
        raise UserError(refusal) from error
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise RunError(f"cannot lock {path}: {error.strerror}") from error
        log.warning(
            "no lock on %s, its file system has none (%s): nothing keeps another run or sweep out of "
            "this folder, so start no second one there",
            path.parent,
            error.strerror,
        )
    else:
        _put_up_sign(handle, shared)


def _put_up_sign(handle: int, shared: bool) -> None:
    if sys.platform == "linux":
        kind = fcntl.F_RDLCK if shared else fcntl.F_WRLCK
        with suppress(OSError):  # without it the lock is as good, but cannot be seen
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _lock_record(kind))


def is_locked(directory: Path) -> bool:
    """Does somebody hold the folder's lock? Takes nothing; False where that cannot be seen."""
    if sys.platform != "linux":
        return False
    try:
        with (directory / LOCK_FILE).open("rb") as file:
            lock_record = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _lock_record(fcntl.F_WRLCK))
    except OSError:
        return False  # no lock file, or a file system without such locks
    kind: int = struct.unpack(_STRUCT_FLOCK, lock_record)[0]
    return kind != fcntl.F_UNLCK


def _lock_record(kind: int) -> bytes:
    return struct.pack(_STRUCT_FLOCK, kind, os.SEEK_SET, 0, 0, 0)
