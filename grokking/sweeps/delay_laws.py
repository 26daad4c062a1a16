"""What does the delay of grokking follow? Straight lines through logarithms, cell by cell.

    timescale        1 / (learning rate * weight decay), AdamW's time to forget
    train_fraction   the share of the questions that is trained on
    decay_time       log(V at memorisation / V at generalisation) / (learning rate * weight decay), of each
                     run's own weights: V is the sum of all their squares (arXiv 2603.13331). Weights that
                     nothing but decay moved would take half of it; it is known afterwards only

A law is fitted along the axes that move it, at fixed values of the others; a slope of 1 would be exact
proportion. A cell's place is the median of its runs', its height the Kaplan-Meier median delay. The spread
comes from drawing the runs of every cell anew (Efron 1979, the bootstrap).
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from grokking.files.json_files import finite_or_none
from grokking.sweeps.records import Cell, RunRecord, Sweep
from grokking.sweeps.scaling import DRAWS, SEED, line
from grokking.sweeps.survival import median_time

RATES = ("weight_decay", "learning_rate")


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
    whole = [tuple(range(len(runs))) for runs in cells]
    places = [_Places(runs, x_of) for runs in cells]
    points = _known(places, whole)
    if len({x for x, _ in points}) < 3:
        return None
    slope, intercept = line(points)
    rng = random.Random(SEED)
    drawn = (
        _known(places, [tuple(sorted(rng.choices(runs, k=len(runs)))) for runs in whole])
        for _ in range(DRAWS)
    )
    slopes = sorted(line(draw)[0] for draw in drawn if len({x for x, _ in draw}) >= 2)
    low, high = slopes[round(0.025 * (len(slopes) - 1))], slopes[round(0.975 * (len(slopes) - 1))]
    ratio = median(delay / x for x, delay in points)
    return Law(name, at, slope, (low, high), intercept, points, ratio, len(cells) - len(points))


Point = tuple[float, int]  # x and median delay of a cell


class _Places(dict[tuple[int, ...], Point | None]):
    """Where a cell lies by the runs that are drawn of it, their numbers ascending; each found once."""

    def __init__(
        self, runs: Sequence[RunRecord], x_of: Callable[[RunRecord], float | None]
    ) -> None:
        self.delays = [run.observed_delay for run in runs]
        self.x = [x_of(run) for run in runs]

    def __missing__(self, drawn: tuple[int, ...]) -> Point | None:
        known = [x for place in drawn if (x := self.x[place]) is not None and 0 < x < math.inf]
        delay = median_time([d for place in drawn if (d := self.delays[place]) is not None])
        found = known and delay is not None and delay > 0 and median(known) < math.inf
        self[drawn] = (median(known), delay) if found and delay is not None else None
        return self[drawn]


def _known(places: Sequence[_Places], drawn: Sequence[tuple[int, ...]]) -> list[Point]:
    """The cells that have both, above zero and finite, ascending."""
    points = [place[runs] for place, runs in zip(places, drawn, strict=True)]
    return sorted(point for point in points if point is not None)
