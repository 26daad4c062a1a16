"""run_log.txt: what a sweep was, and when each of its runs started and how it ended."""

import time
from collections.abc import Iterable
from pathlib import Path

from grokking.files import names
from grokking.sweeps.axis import Axis, capitalised, value_words
from grokking.sweeps.plan import Plan


def clock_time() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


class RunLog:
    """Appends whole lines, so that several processes of one sweep can share the file."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / names.RUN_LOG

    def header(self, plan: Plan, how: str) -> None:
        """The head of a new log, or of a resumption in an old one."""
        self._append(
            [
                f"{_titled(plan.axes)} sweep {how} at {clock_time()}",
                *(f"  {axis.name}s: {_words(map(value_words, axis.values))}" for axis in plan.axes),
                f"  seeds:         {_words(plan.seeds)}",
                f"  epochs:        {_words(dict.fromkeys(plan.epochs))}",
                *(f"  {name}={value}" for name, value in plan.environment.items()),
            ]
        )

    def entry(self, run: str, what: str) -> None:
        """One line about one run."""
        self._append([f"{clock_time()}  {run}  {what}"])

    def _append(self, lines: Iterable[str]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))


def _titled(axes: Iterable[Axis]) -> str:
    """Weight-decay, or Train-fraction x weight-decay."""
    return capitalised(" x ".join(axis.name.replace(" ", "-") for axis in axes))


def _words(values: Iterable[object]) -> str:
    return " ".join(map(str, values))
