"""Fewer points, rows or labels for the same picture: of 10,000 epochs, a curve is drawn with some hundreds."""

import math
from collections.abc import Sequence

SAMPLES = 200  # evenly spaced, and as many again evenly on a logarithmic axis
TICKS = 6


def thinned(
    epochs: Sequence[int], values: Sequence[float | None], jump: float, logarithmic: bool = False
) -> tuple[list[int], list[float | None]]:
    """Points that hold the curve: even samples on both kinds of axis, and both ends of each jump.

    A jump is a change of more than `jump` since the last point that was kept: of the value,
    or (logarithmic) of its common logarithm. None, a value that was not finite, is always kept.
    """
    kept = _samples(len(epochs))
    last = None
    for i, value in enumerate(values):
        height = _height(value, logarithmic)
        if height is None or last is None or abs(height - last) > jump:
            kept |= {max(0, i - 1), i}
        if i in kept:
            last = height
    chosen = sorted(kept)
    return [epochs[i] for i in chosen], [values[i] for i in chosen]


def _samples(count: int) -> set[int]:
    """Positions spaced evenly, and evenly in their logarithm."""
    even = {round((count - 1) * i / SAMPLES) for i in range(SAMPLES + 1)} if count else set()
    return even | log_places(count, SAMPLES)


def log_places(count: int, steps: int) -> set[int]:
    """The first and the last of so many places, and some between, evenly spaced in their logarithm."""
    last = max(0, count - 1)
    return {0, last, *(round(last ** (i / steps)) for i in range(steps + 1))} & set(range(count))


def tick_places(count: int) -> range:
    """About TICKS of so many places on an axis, evenly spaced."""
    return range(0, count, max(1, count // TICKS))


def _height(value: float | None, logarithmic: bool) -> float | None:
    if value is None or not logarithmic:
        return value
    return math.log10(value) if value > 0 else -math.inf
