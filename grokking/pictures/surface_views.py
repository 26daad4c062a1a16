"""In which orders a surface's operands are worth listing, and what to say about each."""

from functools import partial
from typing import NamedTuple

import numpy as np

from grokking.files.surfaces import Surface
from grokking.fourier import Permutation, Wave, wave_order

DRAWN = 1000  # operands on an axis, at most: more than that no screen shows, and few browsers open
_LONG_PERIOD = 10  # operands a wave must span to look smooth on natural axes
_DOMINANT = 0.5  # share of the variance from which a neuron is one wave and not a mixture


class View(NamedTuple):
    """A surface with both operands listed in one order."""

    name: str
    order: Permutation  # int64: position -> operand, at most DRAWN
    caption: str
    look_for: str


def orders(p: int, frequency: int) -> tuple[Permutation, Permutation | None]:
    """Natural order, and the order in which a frequency (0: none) becomes a few waves, where it can."""
    waves = wave_order(p, frequency, waves_shown(p)) if frequency else None
    return np.arange(p, dtype=np.int64), waves


def drawn_operands(order: Permutation) -> Permutation:
    """At most DRAWN of the operands, evenly spaced in their order."""
    return order[:: _every(len(order))]


def views(surface: Surface) -> list[View]:
    """Natural order, and then wave order where there is one for the surface's strongest frequency."""
    p, wave, missing_operands = surface.modulus, surface.wave, operands_left_out(surface.modulus)
    natural, waves = orders(p, 0 if wave is None else wave.frequency)
    as_counted = partial(
        View,
        "Natural order",
        drawn_operands(natural),
        f"Operands from 0 to {p - 1}, as counted.{missing_operands}",
    )
    if wave is None or waves is None:
        return [as_counted(_no_wave_order(surface) + missing_operands)]
    step = waves[1]
    listed = (
        f"The same numbers with both operands listed in steps of {step} (mod {p}): "
        f"frequency {wave.frequency} becomes {waves_shown(p)} waves along each axis. "
    )
    look_for = (
        "Look for smooth hills and diagonal ridges; hovering shows the true operands."
        if wave.share >= _DOMINANT
        else "It holds less than half of this neuron's variance: hills, if any, are faint."
    )
    stepped = f"Operands in steps of {step} (mod {p}).{missing_operands}"
    return [
        as_counted(_natural(p, wave) + missing_operands),
        View("Wave order", drawn_operands(waves), stepped, listed + look_for + missing_operands),
    ]


def operands_left_out(p: int) -> str:
    """A sentence on the operands that are not drawn, if there are any."""
    n = _every(p)
    nth = {1: "", 2: "2nd", 3: "3rd"}.get(n, f"{n}th")
    return f" Drawn is every {nth} of them." if nth else ""


def operands_told(p: int) -> list[str]:
    """The same for pictures of many neurons."""
    missing_operands = operands_left_out(p)
    return [f"Operands run from 0 to {p - 1}.{missing_operands}"] if missing_operands else []


def _every(p: int) -> int:
    return -(-p // DRAWN)  # rounded up


def waves_shown(p: int) -> int:
    """Waves along each axis in wave order: four read well."""
    return min(4, (p - 1) // 2)


def _natural(p: int, wave: Wave) -> str:
    if wave.share < _DOMINANT:
        return (
            f"No frequency rules this neuron: {wave.frequency} is the strongest of many. "
            "After grokking, look for neurons that hold most of their variance in one."
        )
    period = p / wave.frequency
    if period >= _LONG_PERIOD:
        return f"One wave every {period:.1f} operands. Look for smooth hills and diagonal ridges."
    return (
        f"One wave every {period:.1f} operands, too fast for the eye: look for a regular "
        "pincushion, then press Wave order to see the waves in it."
    )


def _no_wave_order(surface: Surface) -> str:
    p, wave = surface.modulus, surface.wave
    if not surface.values.any():
        return "This neuron is dead: no pair of operands makes it fire, so it shows no wave."
    if p < 3 or p % 2 == 0:
        return f"No wave order: single frequencies need an odd modulus of at least 3, this is {p}."
    if wave is None:
        return "No wave order: every pair gives the same activation, so it shows no wave."
    return (
        f"No wave order: the strongest frequency, {wave.frequency}, shares a factor "
        f"with the modulus {p}, so it repeats before it has met every operand."
    )


def surface_title(surface: Surface) -> str:
    """Neuron, modulus, epoch, and the strongest frequency with its share of the variance."""
    wave = surface.wave
    where = f"Neuron {surface.neuron_index}, mod {surface.modulus}"
    if surface.epoch is not None:
        where += f", epoch {surface.epoch:,}"
    if not surface.values.any():
        return f"{where}: dead"
    if wave is None:
        return f"{where}: no frequency"
    return f"{where}: frequency {wave.frequency} holds {wave.share:.1%} of the variance"


def share(surface: Surface) -> float:
    """Of its variance, in its strongest frequency."""
    return 0.0 if surface.wave is None else surface.wave.share
