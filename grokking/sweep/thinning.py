"""Fewer points for the same picture: a curve of 10,000 epochs is drawn with some hundreds."""

import math
from collections.abc import Sequence

SAMPLES = 200  # evenly spaced, and as many again evenly on a logarithmic axis


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
    if count == 0:
        return set()
    last = count - 1
    even = {round(last * i / SAMPLES) for i in range(SAMPLES + 1)}
    return even | {round(last ** (i / SAMPLES)) for i in range(SAMPLES + 1)} & set(range(count))


def _height(value: float | None, logarithmic: bool) -> float | None:
    if value is None or not logarithmic:
        return value
    return math.log10(value) if value > 0 else -math.inf
