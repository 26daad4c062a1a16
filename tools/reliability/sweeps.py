"""Sweeps: folders with runs of every kind, analysed and drawn."""

import html
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from grokking.commands.analyze_sweep import main as analyze
from grokking.commands.plot_sweep import main as plot
from grokking.sweeps.folder import EXPERIMENT
from grokking.sweeps.pages import PAGES
from tools.reliability.batches import in_batches
from tools.reliability.calls import Called, called
from tools.reliability.counting import miscounted
from tools.reliability.mixtures import Mixture, mix
from tools.reliability.outcome import Outcome
from tools.reliability.spoiling import remove

DRAWN = 0.25  # of the folders


def sweep_folders(count: int, chance: random.Random, folder: Path) -> Outcome:
    """Mixtures of runs through the two scripts: counted or named, and counted right."""
    return in_batches(count, chance, folder, _analyse)


def _analyse(directory: Path, chance: random.Random) -> Iterator[str]:
    """What is wrong with the analysis, and sometimes the pages, of a mixture."""
    drawn = chance.random() < DRAWN
    mixture = mix(directory, chance)
    path = directory / "analysis_summary.json"
    path.write_text("of yesterday")
    for done in (called(main, directory) for main in [analyze, *[plot] * drawn]):
        readable = bool(mixture.runs)
        codes = (0, 2) if mixture.flipped and not readable else (0,) if readable else (2,)
        yield from done.faults(*codes)
        if done.code == 0:
            summary = json.loads(path.read_text(), parse_constant=_refuse)
            yield from miscounted(summary)
            yield from _unaccounted(directory, mixture, summary)
            yield from _untold(done, summary)
        elif path.read_text() != "of yesterday" or (directory / "plots").exists():
            yield f"written all the same: {done.errors!r}"
    if drawn and done.code == 0:
        yield from _undrawn(directory / "plots", summary)
    remove(directory)


def _refuse(name: str) -> None:
    raise ValueError(f"{name} in a summary")


def _unaccounted(directory: Path, mixture: Mixture, summary: dict[str, Any]) -> Iterator[str]:
    """Folders that are neither counted nor named, or not as they must be."""
    counted = {run["directory"]: run for run in summary["runs"]}
    named = {fault["directory"]: fault["fault"] for fault in summary["faults"]}
    if len(counted) != len(summary["runs"]) or len(named) != len(summary["faults"]):
        yield "a folder twice"
    everything = mixture.runs.keys() | mixture.flipped | mixture.faulty
    if counted.keys() & named.keys() or counted.keys() | named.keys() != everything:
        yield f"there are {everything}, counted {set(counted)}, named {named}"
    yield from (f"{name} was counted" for name in mixture.faulty & counted.keys())
    for name, known in mixture.runs.items():
        fault = named.get(name, "")
        kept = fault.removeprefix("repeats ").removesuffix("; counted once")
        if name in counted:
            wrong = {key: counted[name][key] for key in counted[name].keys() & known.keys()}
            if any(known[key] != value for key, value in wrong.items()):
                yield f"{name} is told as {wrong}, not as {known}"
        elif kept not in counted or not _repeats(known, mixture.runs.get(kept)):
            yield f"{name} was not counted: {fault}"
    once = [_experiment(known) for name, known in mixture.runs.items() if name in counted]
    if len(set(once)) != len(once):
        yield "one experiment was counted twice"


def _experiment(known: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(known[key] for key in ("seed", *EXPERIMENT) if key in known)


def _repeats(known: dict[str, Any], kept: dict[str, Any] | None) -> bool:
    """Is it the same experiment as the run that was kept, and not longer? None: a bit was flipped."""
    same = kept is None or _experiment(known) == _experiment(kept)
    return same and (kept is None or known["last_epoch"] <= kept["last_epoch"])


def _untold(done: Called, summary: dict[str, Any]) -> Iterator[str]:
    """Faults and warnings that are in the summary and were not printed."""
    lines = [f"  {fault['directory']}: {fault['fault']}" for fault in summary["faults"]]
    lines += [f"warning: {warning}" for warning in summary["warnings"]]
    yield from (f"not printed: {line!r}" for line in lines if line not in done.out)


def _undrawn(plots: Path, summary: dict[str, Any]) -> Iterator[str]:
    """Pages that are not there or not whole, and folders that the table of the index lacks."""
    for name in ("index.html", *PAGES):
        if not (plots / name).read_text(encoding="utf-8").rstrip().endswith("</html>"):
            yield f"{name} is not whole"
    index = (plots / "index.html").read_text(encoding="utf-8")
    for entry in [*summary["runs"], *summary["faults"]]:
        name = entry["directory"].encode(errors="backslashreplace").decode()
        if html.escape(name) not in index:
            yield f"{name} is not in the index"
