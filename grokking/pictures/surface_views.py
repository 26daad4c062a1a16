"""In which orders a surface's operands are worth listing, and what to say about each."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grokking.files.surfaces import Surface
from grokking.fourier import Permutation, Wave, wave_order, waves_shown
from grokking.laws import FILE
from grokking.task import Group, Task

DRAWN = 1000  # operands on an axis, at most: more than that no screen shows, and few browsers open
_LONG_PERIOD = 10  # operands a wave must span to look smooth on natural axes
_DOMINANT = 0.5  # share of the variance from which a neuron is one wave and not a mixture


class Order(NamedTuple):
    """Which operand stands at each position: the first along x, the second along y; int64."""

    first: Permutation
    second: Permutation


class View(NamedTuple):
    """A surface with its operands listed in one order."""

    name: str
    order: Order  # of at most DRAWN operands
    caption: str
    look_for: str


def natural_order(p: int, holes: NDArray[np.bool_] | None) -> Order:
    """The operands as counted; those that no question has are left out."""
    if holes is None:
        return Order(np.arange(p), np.arange(p))
    return Order(np.flatnonzero(~holes.all(axis=1)), np.flatnonzero(~holes.all(axis=0)))


def group_order(group: Group) -> Order:
    """The operands as the group lists its elements."""
    return Order(group.first_order, group.second_order)


def order_of_waves(group: Group | None, frequency: int) -> Order | None:
    """The order in which a frequency (0: none) becomes a few waves; None where there is none."""
    if group is None or frequency == 0 or group.basis.kind != "frequency":
        return None
    n = group.basis.order
    elements = wave_order(n, frequency, waves_shown(n, frequency))
    return Order(group.first_order[elements], group.second_order[elements])


def drawn(order: Order) -> Order:
    """At most DRAWN of the operands, evenly spaced in their order."""
    return Order(*(operands[:: _every(len(operands))] for operands in order))


def views(surface: Surface) -> list[View]:
    """Natural order; the group's where it is another; wave order of the surface's strongest frequency."""
    group, wave, p = surface.group, surface.wave, surface.modulus
    waves = None if wave is None else order_of_waves(group, wave.frequency)
    if group is None or wave is None or waves is None:
        look_for = _no_wave_order(surface)
    elif group.listed:
        look_for = f"As counted, waves over {group.listed} look like noise: press the next button."
    else:
        look_for = _natural(group, wave)
    first = natural_order(p, surface.holes)
    missing = operands_not_drawn(first)
    ends, some = _ends(first, p)
    caption = f"Operands {ends}, as counted{some}.{missing}"
    listed = [View("Natural order", drawn(first), caption, look_for + missing)]
    if group is not None and group.listed:
        name, by_power = group.listed.capitalize(), group_order(group)
        missing = operands_not_drawn(by_power)
        caption = f"Operands in the order of {group.listed}: one step is one factor."
        by_group = caption if wave is None else _natural(group, wave)
        listed.append(View(name, drawn(by_power), caption + missing, by_group + missing))
    if group is not None and wave is not None and waves is not None:
        missing = operands_not_drawn(waves)
        caption = f"{_waves_told(group, wave.frequency)}.{missing}"
        listed.append(
            View("Wave order", drawn(waves), caption, _wave_look_for(group, wave) + missing)
        )
    return listed


def _ends(order: Order, p: int) -> tuple[str, str]:
    """From where to where the operands run as counted, and whether some of all p are left out."""
    x, y = (f"from {operands[0]} to {operands[-1]}" for operands in order)
    along = x if np.array_equal(*order) else f"{x} along x and {y} along y"
    some = ", without those that no question has" if min(map(len, order)) < p else ""
    return along, some


def _waves_told(group: Group, frequency: int) -> str:
    """How wave order lists the operands."""
    n = group.basis.order
    order = wave_order(n, frequency, waves_shown(n, frequency))
    where = f" in the order of {group.listed}" if group.listed else f" (mod {n})"
    if math.gcd(frequency, n) > 1:
        return f"Operands by their phase in frequency {frequency}{where}"
    backwards = ", the second backwards" if not group.listed and not group.is_natural else ""
    return f"Operands in steps of {order[1]}{where}{backwards}"


def _wave_look_for(group: Group, wave: Wave) -> str:
    count = waves_shown(group.basis.order, wave.frequency)
    becomes = f"{count} wave{'s' if count > 1 else ''} along each axis"
    shapes, look_for = "hills", "smooth hills and diagonal ridges"
    if has_two_levels(group, wave.frequency):
        becomes = "one step along each axis, as it has two levels only"
        shapes, look_for = "squares", "flat squares, two by two"
    listed = (
        f"The same numbers with both o{_waves_told(group, wave.frequency)[1:]}: frequency "
        f"{wave.frequency} becomes {becomes}. "
    )
    if wave.share >= _DOMINANT:
        return f"{listed}Look for {look_for}; hovering shows the true operands."
    return (
        f"{listed}It holds less than half of this neuron's variance: {shapes}, if any, are faint."
    )


def has_two_levels(group: Group | None, frequency: int) -> bool:
    """Is it the alternating function, which is a step and no hill?"""
    return group is not None and frequency > 0 and group.basis.sizes[frequency - 1] == 1


def operands_not_drawn(order: Order) -> str:
    """A sentence on the operands that are not drawn, if there are any."""
    along_x, along_y = (_every(len(operands)) for operands in order)
    if along_x == along_y:
        return f" Drawn is every {_nth(along_x)} of them." if along_x > 1 else ""
    both = [
        f"every {_nth(n)} along {axis}" for n, axis in ((along_x, "x"), (along_y, "y")) if n > 1
    ]
    return f" Drawn is {' and '.join(both)}."


def operands_told(task: Task) -> list[str]:
    """The same for pictures of many neurons."""
    order = natural_order(task.p, task.holes)
    missing = operands_not_drawn(order)
    ends, some = _ends(order, task.p)
    return [f"Operands run {ends}{some}.{missing}"] if missing else []


def _nth(n: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(n, f"{n}th")


def _every(count: int) -> int:
    return -(-count // DRAWN)  # rounded up


def _natural(group: Group, wave: Wave) -> str:
    """What to look for where operands stand as the group lists its elements."""
    if wave.share < _DOMINANT:
        return (
            f"No {group.basis.kind} rules this neuron: {group.basis.label(wave.frequency)} is the "
            "strongest of many. After grokking, look for neurons that hold most of their variance in one."
        )
    if has_two_levels(group, wave.frequency):
        return (
            "It alternates from one operand to the next: look for a checkerboard, then press Wave order "
            "to see its two levels apart."
        )
    period = group.basis.order / wave.frequency
    if period >= _LONG_PERIOD:
        return f"One wave every {period:.1f} operands. Look for smooth hills and diagonal ridges."
    return (
        f"One wave every {period:.1f} operands, too fast for the eye: look for a regular "
        "pincushion, then press Wave order to see the waves in it."
    )


def _no_wave_order(surface: Surface) -> str:
    group, wave = surface.group, surface.wave
    if is_dead(surface):
        return "This neuron is dead: no pair of operands makes it fire, so it shows no wave."
    if group is None:
        return (
            f"No known basis: of the task {surface.task} no order is known in which this is a wave."
        )
    if wave is None:
        return "No wave order: every pair gives the same activation, so it shows no wave."
    return f"No wave order: {_block(group, wave)} is no wave along an axis. As counted."


def surface_title(surface: Surface) -> str:
    """Neuron, modulus, epoch, and the strongest block with its share of the variance."""
    wave, group = surface.wave, surface.group
    where = f"Neuron {surface.neuron_index}, {_asked(surface)}"
    if surface.epoch is not None:
        where += f", epoch {surface.epoch:,}"
    if is_dead(surface):
        return f"{where}: dead"
    if group is None:
        return f"{where}: no known basis"
    if wave is None:
        return f"{where}: no {group.basis.kind}"
    return f"{where}: {_block(group, wave)} holds {wave.share:.1%} of the variance"


def _asked(surface: Surface) -> str:
    """The task in a word or two; of addition the modulus says enough."""
    task, p = surface.task, surface.modulus
    if task.startswith(FILE) or task == "random":
        return f"{task.partition(':')[0]}, p = {p}"
    if task == "s5":
        return task
    return f"mod {p}" if task == "add" else f"{task} mod {p}"


def _block(group: Group, wave: Wave) -> str:
    return f"{group.basis.kind} {group.basis.label(wave.frequency)}"


def block_in_words(surface: Surface) -> str:
    """The strongest block's name, or why there is none."""
    group, wave = surface.group, surface.wave
    if group is None:
        return "dead" if is_dead(surface) else "no known basis"
    if wave is None:
        return "no wave" if group.basis.kind == "frequency" else f"no {group.basis.kind}"
    return _block(group, wave)


def is_dead(surface: Surface) -> bool:
    """Does no question make the neuron fire?"""
    return not np.nan_to_num(surface.values).any()


def share(surface: Surface) -> float:
    """Of its variance, in its strongest block."""
    return 0.0 if surface.wave is None else surface.wave.share
