"""What does the delay of grokking follow? Straight lines through logarithms, cell by cell.

    timescale        1 / (learning rate * weight decay), AdamW's time to forget
    train_fraction   the share of the questions that is trained on
    decay_time       log(V at memorisation / V at generalisation) / (learning rate * weight decay), of each
                     run's own weights: V is the sum of all their squares (arXiv 2603.13331). Weights that
                     nothing but decay moved would take half of it; it is known afterwards only

A law is fitted along the axes that move it, at fixed values of the others; a slope of 1 would be exact
proportion. A cell's x is the median of its runs', its height the Kaplan-Meier median delay.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from grokking.files.json_files import finite_or_none
from grokking.sweeps.records import Cell, RunRecord, Sweep
from grokking.sweeps.scaling import Place, fit_line

RATES = ("weight_decay", "learning_rate")  # by whose product delays may be pooled


@dataclass(frozen=True)
class Law:
    """log(median delay) = slope * log(x) + intercept, over the cells that have both."""

    name: str
    at: dict[str, Any]  # the values of the axes that are held fixed
    slope: float
    slope_interval_95: tuple[float, float]
    intercept: float
    points: list[tuple[float, int]]  # (x, median delay in epochs) of each cell, ascending
    median_ratio: float  # of delay to x, over the cells
    left_out: int  # cells of the panel without a median or an x

    def record(self) -> dict[str, Any]:
        """As analysis_summary.json has it."""
        points = [{"x": x, "median_delay": delay} for x, delay in self.points]
        told = {key: value for key, value in vars(self).items() if key != "name"}
        ratio = finite_or_none(self.median_ratio)
        return {"law": self.name, **told, "points": points, "median_ratio": ratio}


LAWS: Mapping[str, tuple[tuple[str, ...], Callable[[RunRecord], float | None]]] = {
    "timescale": (RATES, lambda run: run.timescale),
    "train_fraction": (("train_fraction",), lambda run: run.values["train_fraction"]),
    "decay_time": (RATES, lambda run: run.decay_time),
}


def delay_laws(sweep: Sweep) -> list[Law]:
    """Every law that an axis of the sweep moves, at each value of its other axes; three cells at least.

    None of branches, which did not memorise under the settings that they have.
    """
    if sweep.has_branches:
        return []
    return [
        law
        for name, (fields, x_of) in LAWS.items()
        if set(fields) & set(sweep.fields)
        for at, cells in _panels(sweep, fields)
        if (law := _fit(name, at, cells, x_of)) is not None
    ]


def _panels(
    sweep: Sweep, fields: Sequence[str]
) -> Iterator[tuple[dict[str, Any], list[list[RunRecord]]]]:
    """The cells by their values of the axes that are not among `fields`."""
    fixed = [place for place, field in enumerate(sweep.fields) if field not in fields]
    panels: dict[Cell, list[list[RunRecord]]] = {}
    for cell, runs in sweep.cells.items():
        panels.setdefault(tuple(cell[place] for place in fixed), []).append(runs)
    for values, cells in panels.items():
        yield dict(zip((sweep.fields[place] for place in fixed), values, strict=True)), cells


def _fit(
    name: str,
    at: dict[str, Any],
    cells: Sequence[Sequence[RunRecord]],
    x_of: Callable[[RunRecord], float | None],
) -> Law | None:
    places = [
        Place([x_of(run) for run in runs], [run.observed_delay for run in runs]) for runs in cells
    ]
    found = fit_line(places)
    if found is None:
        return None
    ratio = median(delay / x for x, delay in found.points)
    return Law(name, at, *found, ratio, len(cells) - len(found.points))
