"""Damage to a run's files, each of one kind; and a process that permissions bind, root or not."""

import ctypes
import json
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

Spoiler = Callable[[Path, random.Random], None]
# JSON of other programs
FOREIGN: tuple[dict[str, Any], ...] = ({"results": [1, 2, 3]}, {"model": "gpt", "epochs": {}}, {})
_NO_VALUE = {"a": 1}  # of no key that a run's files must have
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2  # linux/capability.h
_CAPABILITY_VERSION = 0x20080522


def _of_bytes(change: Callable[[bytearray, random.Random], object]) -> Spoiler:
    def spoil(path: Path, chance: random.Random) -> None:
        content = bytearray(path.read_bytes())
        change(content, chance)
        path.write_bytes(content)

    return spoil


def _of_record(change: Callable[[dict[str, Any], random.Random], object]) -> Spoiler:
    def spoil(path: Path, chance: random.Random) -> None:
        record = json.loads(path.read_text())
        change(record, chance)
        path.write_text(json.dumps(record))

    return spoil


def _flip(content: bytearray, chance: random.Random) -> None:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def _cut(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content) - 2) :]  # JSON may lack the line break at its end


def _zero(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content) - 1)
    content[start : start + 64] = bytes(len(content[start : start + 64]))


def _replace(make: Callable[[Path], object]) -> Spoiler:
    def spoil(path: Path, chance: random.Random) -> None:
        path.unlink()
        make(path)

    return spoil


ANY_FILE: dict[str, Spoiler] = {  # no file of a run is whole after it
    "cut": _of_bytes(_cut),
    "zeroed": _of_bytes(_zero),
    "foreign": lambda path, chance: _write(path, chance.choice(FOREIGN)),
    "a list": lambda path, chance: _write(path, []),
    "gone": _replace(lambda path: None),
    "a folder": _replace(Path.mkdir),
    "a link to itself": _replace(lambda path: path.symlink_to(path.name)),
    "a pipe": _replace(os.mkfifo),
    "not permitted": lambda path, chance: path.chmod(0),
}
JSON_FILE: dict[str, Spoiler] = {  # nor any JSON file
    **ANY_FILE,
    "no text": _of_bytes(lambda content, chance: content.insert(len(content) // 2, 0xFF)),
    "NaN": _of_record(lambda record, chance: _put(record, float("nan"), chance)),
    "newer": _of_record(lambda record, chance: record.update(schema_version=2)),
}
_HISTORY_FILE: dict[str, Spoiler] = {
    **JSON_FILE,
    "wrong type": _of_record(lambda record, chance: _put(record, _NO_VALUE, chance)),
    "ragged": _of_record(lambda record, chance: record[chance.choice(_lists(record))].pop()),
    "out of order": _of_record(lambda record, chance: record["epochs"].insert(0, 10**6)),
}
_RESULTS = ("memorization_epoch", "generalization_epoch", "grok_epoch", "grokked", "seconds")
RUN_FILES: dict[str, dict[str, Spoiler]] = {  # what an analysis reads of a run
    "config.json": {
        **JSON_FILE,
        "wrong type": _of_record(
            lambda r, chance: r.update({chance.choice(("config", "starts")): _NO_VALUE})
        ),
        "wrong field": _of_record(
            lambda r, chance: r["config"][chance.choice(list(r["config"]))].update(value=_NO_VALUE)
        ),
    },
    "loss_history.json": _HISTORY_FILE,
    "accuracy_history.json": _HISTORY_FILE,
    "grokking.json": {
        **JSON_FILE,
        "wrong type": _of_record(lambda r, chance: r.update({chance.choice(_RESULTS): _NO_VALUE})),
        "contradicting": _of_record(lambda r, chance: r.update(grokked=not r["grokked"])),
    },
}
FLIPPED: Spoiler = _of_bytes(_flip)  # which JSON may survive, with the same or another content


def _write(path: Path, record: object) -> None:
    path.write_text(json.dumps(record))


def _put(record: dict[str, Any], value: object, chance: random.Random) -> None:
    record[chance.choice([key for key in record if key != "schema_version"])] = value


def _lists(record: dict[str, Any]) -> list[str]:
    return [key for key, value in record.items() if isinstance(value, list)]


def bound_by_permissions() -> None:
    """Let this process, if it is root's, heed permissions as everybody's."""
    if sys.platform != "linux":
        return
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 bits
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capget(header, sets) == 0:
        sets[0] &= ~(1 << _CAP_DAC_OVERRIDE | 1 << _CAP_DAC_READ_SEARCH)
        libc.capset(header, sets)


def remove(folder: Path) -> None:
    """A folder with all that is in it, whatever its permissions are."""
    for parent, names, _ in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder)
