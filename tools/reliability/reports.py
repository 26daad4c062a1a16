"""Reports on runs of every kind, damaged in any file, thinned out meanwhile, or refused the disk."""

import errno
import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from unittest.mock import patch

from grokking.analysis import investigation
from grokking.commands.report import main as report
from grokking.files import trajectory
from grokking.files.checkpoint import load_checkpoint
from grokking.files.folder import REPORT_FILES
from grokking.files.names import labeled_path
from grokking.system.errors import UserError
from tools.reliability.forked import Ended, Fork, forked_run, unreadable_file
from tools.reliability.outcome import Outcome
from tools.reliability.small_sweeps import DIVERGING
from tools.reliability.spoiling import ANY_FILE, FLIPPED, JSON_FILE, bound_by_permissions, remove
from tools.reliability.tampering import (
    ERRORS,
    at_epoch,
    at_file_operation,
    fail_with,
    operations,
    signalling,
)

CARD, FILM, PAGES = "report_card.json", "film.html", ("report.html", "gallery.html")
RESULTS = ("loss_history.json", "accuracy_history.json", "grokking.json")
NOT_THERE = ("gone", "a link to itself")
UNSURE = ("zeroed", "flipped")  # some bytes of a checkpoint or of a number are nobody's
Content = dict[str, bytes | str]  # of a folder, by path; in words what is no file


def reports(count: int, chance: random.Random, folder: Path) -> Outcome:
    """All pages, or one clear line and everything as it was."""
    result = Outcome()
    templates = _templates(folder)
    for _ in range(count):
        seed = chance.getrandbits(32)
        directory = folder / f"run_{seed}"
        result.tried += 1
        faults = _reported(directory, templates, random.Random(seed))
        result.broken += [f"seed {seed}: {fault}" for fault in faults]
        remove(directory)
    return result


def report_faults(count: int, chance: random.Random, folder: Path) -> Outcome:
    """An error of the disk at the n-th operation of a report; then the disk recovers."""
    result = Outcome()
    templates = _templates(folder)
    whole = {}
    for name in ("finished", "stopped", "unrecorded"):
        _add_old_report(templates[name], templates["stopped"])
        directory = folder / f"{name}_reported"
        shutil.copytree(templates[name], directory)
        last = operations(partial(_command, directory), folder)
        whole[name] = last, content(directory)
    for _ in range(count):
        name, error = chance.choice(list(whole)), chance.choice(ERRORS)
        last, expected = whole[name]
        number, directory = chance.randint(1, last), folder / "faulty"
        result.tried += 1
        shutil.copytree(templates[name], directory)
        faults = _refused(directory, number, error, expected)
        where = f"{errno.errorcode[error]} at file operation {number} on a {name} run"
        result.broken += [f"{where}: {fault}" for fault in faults]
        remove(directory)
    return result


def _refused(directory: Path, number: int, error: int, expected: Content) -> Iterator[str]:
    before = content(directory)
    ended = forked_report(directory, before=lambda: at_file_operation(number, fail_with(error)))
    yield from _badly_ended(ended, (0, 1, 2))
    yield from _changed(directory, before, partly=True)
    ended = forked_report(directory)
    if ended.code != 0 or content(directory) != expected:
        yield f"another report when the disk has recovered: {ended}"


def _templates(folder: Path) -> dict[str, Path]:
    """A finished run, a stopped one, both without recorded weights, and a diverged one."""

    def stop() -> None:
        at_epoch(8, signalling(signal.SIGTERM))

    stopped = 128 + signal.SIGTERM
    ended = {
        "finished": (0, forked_run(folder / "finished")),
        "stopped": (stopped, forked_run(folder / "stopped", stop)),
        "unrecorded": (0, forked_run(folder / "unrecorded", GROK_TRAJECTORY="0")),
        "stopped_unrecorded": (
            stopped,
            forked_run(folder / "stopped_unrecorded", stop, GROK_TRAJECTORY="0"),
        ),
        "diverged": (1, forked_run(folder / "diverged", GROK_WEIGHT_DECAY=str(DIVERGING))),
    }
    assert all(end.code == code for code, end in ended.values()), ended
    return {name: folder / name for name in ended}


def _add_old_report(directory: Path, source: Path) -> None:
    """The report of another run, or of another epoch of this one."""
    ended = forked_report(source, f"--output={directory.parent / 'old'}")
    assert ended.code == 0, ended
    shutil.copytree(directory.parent / "old", directory, dirs_exist_ok=True)
    shutil.rmtree(directory.parent / "old")


def forked_report(
    directory: Path, *options: str, before: Callable[[], object] = lambda: None
) -> Ended:
    def body() -> int:
        signal.alarm(600)  # it takes seconds
        bound_by_permissions()
        before()
        return _command(directory, *options)

    return Fork(body, directory.parent / "stderr").wait()


def _command(directory: Path, *options: str) -> int:
    return report([str(directory), "--threads=1", *options])


def _reported(directory: Path, templates: dict[str, Path], chance: random.Random) -> Iterator[str]:
    """What is wrong with the report on a run of some kind in some state."""
    kind = chance.choice(list(templates))
    shutil.copytree(templates[kind], directory)
    if chance.random() < 0.3:
        _add_old_report(directory, templates[chance.choice(("finished", "stopped"))])
    output = directory.with_name("elsewhere") if chance.random() < 0.3 else directory
    codes: tuple[int, ...] = (2,) if kind == "stopped_unrecorded" else (0,)
    before: Callable[[], None] = lambda: None  # noqa: E731
    state = "whole"
    if chance.random() < 0.2:
        state, before = "thinned out", partial(_thin_out, directory, chance)
    elif chance.random() < 0.8:
        state, spoilt = _spoil(directory, output is directory, chance)
        codes = tuple({2 if code == 0 else code for code in spoilt}) if codes == (2,) else spoilt
    there = content(directory)
    options = [] if output is directory else [f"--output={output}"]
    ended = forked_report(directory, *options, before=before)
    where = f"{kind}, {state}: "
    faults = [*_badly_ended(ended, codes)]
    if ended.code == 0:
        faults += _unwritten(directory, output)
    if state != "thinned out":
        partly = ended.code == 1 or (ended.code == 0 and output is directory)
        faults += _changed(directory, there, partly)
    yield from (where + fault for fault in faults)
    if output is not directory:
        shutil.rmtree(output, ignore_errors=True)  # if it has been made


def _thin_out(directory: Path, chance: random.Random) -> None:
    """Let recorded weights vanish while they are read, as a run that goes on thins them out."""

    def thinned(path: Path) -> dict[str, object]:
        middle = list(trajectory.recorded(directory).values())[1:-1]
        if middle and chance.random() < 0.5:
            chance.choice(middle).unlink()
        return load_checkpoint(path)

    patch.object(investigation, "load_checkpoint", thinned).start()


def _spoil(directory: Path, here: bool, chance: random.Random) -> tuple[str, tuple[int, ...]]:
    """Damage any file; (what was done, the exit codes that a report on it may have)."""
    path = chance.choice(
        sorted(p for p in directory.rglob("*") if p.is_file() and p.stat().st_size)
    )
    name = path.relative_to(directory).as_posix()
    kinds = (JSON_FILE if path.suffix == ".json" else ANY_FILE) | {"flipped": FLIPPED}
    how = chance.choice(list(kinds))
    kinds[how](path, chance)
    return f"{name} is {how}", _codes(directory, name, how, here)


def _codes(directory: Path, name: str, how: str, here: bool) -> tuple[int, ...]:
    """The exit codes of a report on a folder in which one file is damaged."""
    if _is_of_report(name):
        return (1,) if how == "a folder" and here else (0,)
    if name == "config.json":
        return (0, 2) if how == "flipped" else (2,)
    if name in RESULTS:
        return (0, 2) if how in (*NOT_THERE, "flipped") else (2,)
    weights = name.startswith("trajectory/") or name == "checkpoint_labeled/final.pt"
    if not weights:
        return (0,)  # nothing that a report reads
    if how in NOT_THERE:
        return (0,) if trajectory.recorded(directory) else (2,)
    if how in UNSURE or name == f"trajectory/epoch_{_newest(directory):06}.pt":
        return (0, 1, 2)
    return (1,) if how == "not permitted" else (2,)


def _is_of_report(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in REPORT_FILES)


def _newest(directory: Path) -> int:
    """The epoch of the newest weights that can be read; -1 if there are none."""
    recorded = trajectory.recorded(directory)
    paths = [labeled_path(directory, "final"), *reversed(recorded.values())]
    for path in paths:
        try:
            return int(load_checkpoint(path)["epoch"])
        except UserError:
            continue
    return -1


def _badly_ended(ended: Ended, codes: tuple[int, ...]) -> Iterator[str]:
    lines = ended.errors.splitlines()
    good = not lines if ended.code == 0 else len(lines) == 1 and lines[0].startswith("error: ")
    if ended.code not in codes or not good:
        yield f"exit code {ended.code}, expected {codes}: {ended.errors[-500:]!r}"


def _unwritten(directory: Path, output: Path) -> Iterator[str]:
    """What is missing of a report, or is of another state than the run's newest."""
    card = json.loads((output / CARD).read_text())
    if card["epoch"] != _newest(directory):
        yield f"a card of epoch {card['epoch']}, not {_newest(directory)}"
    expected = {*PAGES}
    if any(epoch < card["epoch"] for epoch in trajectory.recorded(directory)):
        expected.add(FILM)
    pages = {name for name in (*PAGES, FILM) if (output / name).exists()}
    if pages != expected:
        yield f"pages {sorted(pages)}"
    yield from (f"{name} is not whole" for name in pages if not is_whole(output / name))


def _changed(directory: Path, before: Content, partly: bool) -> Iterator[str]:
    """Files that a report must leave; `partly`: its own may be new, and are then whole."""
    now = content(directory)
    for name in sorted(now.keys() | before.keys()):
        new = partly and _is_of_report(name) and (name not in now or is_whole(directory / name))
        if now.get(name) != before.get(name) and not new:
            yield f"{name} is another"


def is_whole(path: Path) -> bool:
    if path.suffix == ".html":
        return path.read_text().rstrip().endswith("</html>")
    return not unreadable_file(path)


def content(folder: Path) -> Content:
    """Everything in a folder by its path, as its owner sees it who may read all of it."""
    found: Content = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and os.access(path, os.R_OK):
            found[name] = path.read_bytes()
        else:
            found[name] = oct(path.lstat().st_mode)
    return found
