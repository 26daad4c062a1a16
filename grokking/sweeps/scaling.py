"""Straight lines through median delays on logarithmic axes: what does the delay of grokking follow?

A slope of 1 would be exact proportion. Its spread comes from drawing the runs of every cell anew, with
replacement (Efron 1979, Ann. Stat. 7:1, the bootstrap). `fit` is that of a sweep of weight decay:
delay against 1 / (learning rate x weight decay), AdamW's time to forget.
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from statistics import median_low
from typing import NamedTuple

from grokking.sweeps.survival import Observation, median_time

DRAWS, SEED = 1000, 0

Delays = Mapping[float, Sequence[Observation]]  # by timescale 1 / (lr * wd), in epochs
Point = tuple[float, int]  # x of a cell, and its Kaplan-Meier median delay in epochs


class Place(dict[tuple[int, ...], Point | None]):
    """Where a cell lies by the runs that are drawn of it, their numbers ascending; each found once.

    None: without an x or a median that has a logarithm. A run that did not generalise is an observation
    censored at its last epoch; one that did not memorise either (None) says nothing.
    """

    def __init__(self, x: Sequence[float | None], delays: Sequence[Observation | None]) -> None:
        self.x, self.delays = x, delays

    def __missing__(self, drawn: tuple[int, ...]) -> Point | None:
        known = [x for run in drawn if (x := self.x[run]) is not None and _has_logarithm(x)]
        delay = median_time([o for run in drawn if (o := self.delays[run]) is not None])
        self[drawn] = None if not known or not delay or delay < 0 else (median_low(known), delay)
        return self[drawn]


class Line(NamedTuple):
    """log(median delay) = slope * log(x) + intercept, natural logarithms."""

    slope: float
    slope_interval_95: tuple[float, float]
    intercept: float
    points: list[Point]  # ascending


class Scaling(NamedTuple):
    """The line of a sweep of weight decay, x being the timescale."""

    slope: float
    slope_interval_95: tuple[float, float]
    intercept: float
    medians: dict[float, int]  # timescale in epochs -> Kaplan-Meier median delay in epochs


def fit_line(cells: Sequence[Place]) -> Line | None:
    """The line through the cells that have a place; None with fewer than three different x.

    A draw in which fewer than two different x are left says nothing about the slope and is not used.
    """
    whole = [tuple(range(len(cell.x))) for cell in cells]
    points = _points(cells, whole)
    if len({x for x, _ in points}) < 3:
        return None
    slope, intercept = line(points)
    rng = random.Random(SEED)
    drawn = (
        _points(cells, [tuple(sorted(rng.choices(runs, k=len(runs)))) for runs in whole])
        for _ in range(DRAWS)
    )
    slopes = sorted(line(draw)[0] for draw in drawn if len({x for x, _ in draw}) >= 2)
    low, high = slopes[round(0.025 * (len(slopes) - 1))], slopes[round(0.975 * (len(slopes) - 1))]
    return Line(slope, (low, high), intercept, points)


def fit(delays: Delays) -> Scaling | None:
    """Fit the medians that have a logarithm (see delays_left_out); None with fewer than three."""
    found = fit_line([Place([scale] * len(runs), runs) for scale, runs in delays.items()])
    return None if found is None else Scaling(*found[:3], dict(found.points))


def _points(cells: Sequence[Place], drawn: Sequence[tuple[int, ...]]) -> list[Point]:
    """The places of the cells that have one, ascending."""
    points = [cell[runs] for cell, runs in zip(cells, drawn, strict=True)]
    return sorted(point for point in points if point is not None)


def delays_left_out(delays: Delays) -> dict[float, str]:
    """Timescale -> why it is not fitted, ascending."""
    return {
        scale: _reason(scale, runs)
        for scale, runs in sorted(delays.items())
        if Place([scale] * len(runs), runs)[tuple(range(len(runs)))] is None
    }


def _reason(timescale: float, runs: Sequence[Observation]) -> str:
    if not _has_logarithm(timescale):
        return "no logarithm"
    if not runs:
        return "no run memorised or generalised"
    median = median_time(runs)
    return "median delay not reached" if median is None else f"median delay {median:,} not positive"


def _has_logarithm(timescale: float) -> bool:
    return 0 < timescale < math.inf


def line(points: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """(slope, intercept) of the least-squares line through the logarithms of two or more points."""
    x, y = zip(*((math.log(x), math.log(y)) for x, y in points), strict=True)
    x_mean, y_mean = math.fsum(x) / len(x), math.fsum(y) / len(y)
    products = math.fsum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    slope = products / math.fsum((a - x_mean) ** 2 for a in x)
    return slope, y_mean - slope * x_mean
