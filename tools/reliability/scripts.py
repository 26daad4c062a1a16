"""The scripts on sweeps and surfaces, refused the disk at any operation; then it recovers."""

import errno
import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from grokking.commands.analyze_sweep import main as analyze
from grokking.commands.plot_sweep import main as plot
from grokking.commands.surfaces import main as visualize
from grokking.files import names
from grokking.sweeps.pages import PAGES
from tools.reliability.calls import Called, called
from tools.reliability.forked import Fork, forked_run
from tools.reliability.mixtures import mix
from tools.reliability.outcome import Outcome
from tools.reliability.reports import Content, content, is_whole
from tools.reliability.spoiling import bound_by_permissions, remove
from tools.reliability.tampering import ERRORS, at_file_operation, fail_with, operations

SURFACE = "activation_surface_neuron_0"
MIXTURES = 3
PLOTS = tuple(f"plots/{name}" for name in ("index.html", *PAGES))
Make = Callable[[Path], object]  # fills a folder that is not there


class Work(NamedTuple):
    """A script on a folder: what it writes, how many operations on the disk that takes, its end."""

    name: str
    main: Callable[[], int | None]
    argument: str
    outputs: tuple[str, ...]
    make: Make
    operations: int = 0
    expected: Content = {}  # noqa: RUF012


def script_faults(count: int, chance: random.Random, folder: Path) -> Outcome:
    """An error of the disk at the n-th operation of a script; then the disk recovers."""
    result, directory = Outcome(), folder / "work"  # always the same one, which pages may name
    works = [_measured(work, directory) for work in _works(folder, chance)]
    for _ in range(count):
        work, error = chance.choice(works), chance.choice(ERRORS)
        number, stale = chance.randint(1, work.operations), chance.random() < 0.5
        result.tried += 1
        faults = _attempt(work, directory, number, error, stale)
        where = f"{work.name}, {errno.errorcode[error]} at file operation {number}"
        result.broken += [f"{where}: {fault}" for fault in faults]
        remove(directory)
    return result


def _works(folder: Path, chance: random.Random) -> Iterator[Work]:
    """The two scripts on mixtures that hold a readable run, the third on the surface of a run."""
    assert forked_run(folder / "trained").code == 0
    pages = (f"{SURFACE}.html", f"{SURFACE}_combined.html")
    copy = partial(shutil.copytree, folder / "trained")
    yield Work("visualize", visualize, f"{SURFACE}.json", pages, copy)
    readable = 0
    while readable < MIXTURES:
        seed, trial = chance.getrandbits(32), folder / "trial"
        whole = bool(mix(trial, random.Random(seed)).runs)
        remove(trial)
        if whole:
            readable += 1
            make = partial(_mixed, seed)
            yield Work(f"analyze sweep {seed}", analyze, "", (names.SUMMARY,), make)
            yield Work(f"plot sweep {seed}", plot, "", (names.SUMMARY, *PLOTS), make)


def _mixed(seed: int, directory: Path) -> None:
    mix(directory, random.Random(seed))


def _measured(work: Work, directory: Path) -> Work:
    work.make(directory)
    last = operations(lambda: _call(work, directory).code, directory.parent)
    expected = content(directory)
    remove(directory)
    return work._replace(operations=last, expected=expected)


def _call(work: Work, directory: Path, before: Callable[[], object] = lambda: None) -> Called:
    bound_by_permissions()
    before()
    return called(work.main, directory / work.argument)


def _forked(work: Work, directory: Path, before: Callable[[], object] = lambda: None) -> Called:
    record = directory.parent / "record"

    def body() -> int:
        signal.alarm(600)  # it takes seconds
        with record.open("w") as file:
            json.dump(_call(work, directory, before), file)
        return 0

    ended = Fork(body, directory.parent / "stderr").wait()
    return (
        Called(*json.loads(record.read_text())) if ended.code == 0 else Called(None, "", str(ended))
    )


def _attempt(work: Work, directory: Path, number: int, error: int, stale: bool) -> Iterator[str]:
    work.make(directory)
    if stale:
        for path in (directory / name for name in work.outputs):
            path.parent.mkdir(exist_ok=True)
            path.write_text("of yesterday")
    before, said = content(directory), os.strerror(error)
    done = _forked(work, directory, lambda: at_file_operation(number, fail_with(error)))
    told = said in done.out + done.errors
    yield from done.faults(0, 1, *[2] * ("cannot be read" in done.errors))
    if done.code != 0 and not told:
        yield f"not told as {said!r}: {done.errors!r}"
    now = content(directory)
    for name in sorted(now.keys() | before.keys()):
        left = now.get(name) == before.get(name)
        lacks = done.code == 0 and told and name in work.outputs and is_whole(directory / name)
        if not (now.get(name) == work.expected.get(name) or lacks or (left and done.code != 0)):
            yield f"{name} is {'as before' if left else 'another'} with exit code {done.code}"
    done = _forked(work, directory)
    if done.code != 0 or content(directory) != work.expected:
        yield f"otherwise when the disk has recovered: {done}"
