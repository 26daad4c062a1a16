"""In which orders a surface's operands are worth listing, and what to say about each."""

from typing import NamedTuple

import numpy as np

from grokking.analysis.fourier import Permutation, Wave, wave_order
from grokking.artifacts import Surface

DRAWN = 1000  # operands on an axis, at most: more than that no screen shows, and few browsers open
_LONG_PERIOD = 10  # operands a wave must span to look smooth on natural axes
_DOMINANT = 0.5  # share of the variance from which a neuron is one wave and not a mixture


class View(NamedTuple):
    """A surface with both operands listed in one order."""

    name: str
    order: Permutation  # int64 [p]: position -> operand; every n-th of them if p is above DRAWN
    caption: str
    look_for: str


def views(surface: Surface, wave: Wave | None) -> list[View]:
    """Natural order, and then wave order where there is one for the surface's strongest `wave`."""
    p = surface.modulus
    natural = np.arange(p, dtype=np.int64)
    waves = waves_shown(p)
    order = None if wave is None else wave_order(p, wave.frequency, waves)
    counted = f"Operands from 0 to {p - 1}, as counted."
    if wave is None or order is None:
        return [_thinned(View("Natural order", natural, counted, _no_wave_order(surface, wave)))]
    listed = (
        f"The same numbers with both operands listed in steps of {order[1]} (mod {p}): "
        f"frequency {wave.frequency} becomes {waves} waves along each axis. "
    )
    look_for = (
        "Look for smooth hills and diagonal ridges; hovering shows the true operands."
        if wave.share >= _DOMINANT
        else "It holds less than half of this neuron's variance: hills, if any, are faint."
    )
    stepped = f"Operands in steps of {order[1]} (mod {p})."
    return [
        _thinned(View("Natural order", natural, counted, _natural(p, wave))),
        _thinned(View("Wave order", order, stepped, listed + look_for)),
    ]


def _thinned(view: View) -> View:
    """At most DRAWN operands, evenly spaced in this order."""
    step = -(-len(view.order) // DRAWN)  # rounded up
    if step == 1:
        return view
    told = f" Drawn is every {step}{'nd' if step == 2 else 'rd' if step == 3 else 'th'} of them."
    return View(view.name, view.order[::step], view.caption + told, view.look_for + told)


def listed_in_waves(modulus: int, frequency: int) -> list[int] | None:
    """The wave order of a frequency as static/surface.js takes it; None where there is none."""
    order = wave_order(modulus, frequency, waves_shown(modulus)) if frequency else None
    return None if order is None else order.tolist()


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


def _no_wave_order(surface: Surface, wave: Wave | None) -> str:
    p = surface.modulus
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


def surface_title(surface: Surface, wave: Wave | None) -> str:
    """Neuron, modulus, epoch, and the strongest frequency with its share of the variance."""
    where = f"Neuron {surface.neuron_index}, mod {surface.modulus}"
    if surface.epoch is not None:
        where += f", epoch {surface.epoch:,}"
    if not surface.values.any():
        return f"{where}: dead"
    if wave is None:
        return f"{where}: no frequency"
    return f"{where}: frequency {wave.frequency} holds {wave.share:.1%} of the variance"
