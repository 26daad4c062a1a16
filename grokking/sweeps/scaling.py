"""Does the delay of grokking scale as 1 / (learning rate x weight decay), AdamW's time to forget?

A straight line through the median delays on logarithmic axes; slope 1 would be exact
proportion. Its spread comes from drawing runs anew, with replacement, within each weight
decay (Efron 1979, Ann. Stat. 7:1, the bootstrap).
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from grokking.sweeps.survival import Observation, median_time

DRAWS, SEED = 1000, 0

Delays = Mapping[float, Sequence[Observation]]  # by timescale 1 / (lr * wd), in epochs


class Scaling(NamedTuple):
    """log(median delay) = slope * log(timescale) + intercept, natural logarithms."""

    slope: float
    slope_interval_95: tuple[float, float]
    intercept: float
    medians: dict[float, int]  # timescale in epochs -> Kaplan-Meier median delay in epochs


def fit(delays: Delays) -> Scaling | None:
    """Fit the medians that have a logarithm (see left_out); None with fewer than three.

    A run that did not generalise is an observation censored at its last epoch. A draw in
    which fewer than two medians have a logarithm says nothing about the slope and is not used.
    """
    medians = _medians(delays)
    if len(medians) < 3:
        return None
    slope, intercept = line(medians.items())
    rng = random.Random(SEED)
    drawn = [
        _medians({scale: rng.choices(runs, k=len(runs)) for scale, runs in delays.items()})
        for _ in range(DRAWS)
    ]
    slopes = sorted(line(draw.items())[0] for draw in drawn if len(draw) >= 2)
    low, high = slopes[round(0.025 * (len(slopes) - 1))], slopes[round(0.975 * (len(slopes) - 1))]
    return Scaling(slope, (low, high), intercept, medians)


def delays_left_out(delays: Delays) -> dict[float, str]:
    """Timescale -> why it is not fitted, ascending."""
    medians = _medians(delays)
    return {
        scale: _reason(scale, runs)
        for scale, runs in sorted(delays.items())
        if scale not in medians
    }


def _reason(timescale: float, runs: Sequence[Observation]) -> str:
    if not _has_logarithm(timescale):
        return "no logarithm"
    if not runs:
        return "no run memorised or generalised"
    median = median_time(runs)
    return "median delay not reached" if median is None else f"median delay {median:,} not positive"


def _medians(delays: Delays) -> dict[float, int]:
    """Median delays above zero, which have a logarithm, by ascending timescale that has one."""
    medians = {scale: median_time(runs) for scale, runs in sorted(delays.items())}
    return {s: m for s, m in medians.items() if _has_logarithm(s) and m is not None and m > 0}


def _has_logarithm(timescale: float) -> bool:
    return 0 < timescale < math.inf


def line(points: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """(slope, intercept) of the least-squares line through the logarithms of two or more points."""
    x, y = zip(*((math.log(x), math.log(y)) for x, y in points), strict=True)
    x_mean, y_mean = math.fsum(x) / len(x), math.fsum(y) / len(y)
    products = math.fsum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    slope = products / math.fsum((a - x_mean) ** 2 for a in x)
    return slope, y_mean - slope * x_mean
