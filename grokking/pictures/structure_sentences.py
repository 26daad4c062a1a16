"""What a run's weights show, in words: a heading and a sentence that hold for the run they speak of.

Each claim has a condition, stated beside it and computed from what the figure below it draws; where
it does not hold, the sentence says so and gives the run's own figures.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from grokking.analysis.progress_measures import ProgressMeasures
from grokking.analysis.scenes import ROUND, Circle, Film, Gallery
from grokking.analysis.spectra import KEY_SHARE, are_few, few_blocks
from grokking.files.history import Series
from grokking.fourier import PERIODIC, Array
from grokking.pictures.surface_views import has_two_levels
from grokking.task import Task

MOST = 0.5  # of the embedding's squared norm, or of a neuron's variance


class Told(NamedTuple):
    """A heading, and what to look for below it."""

    heading: str
    sentence: str


def block_named(task: Task, number: int) -> str:
    """A block of the task's basis, "frequency 14"; 0 is none."""
    if task.group is None:
        return "no known basis"
    basis = task.group.basis
    nothing = "no wave" if basis.kind == "frequency" else f"no {basis.kind}"
    return f"{basis.kind} {basis.label(number)}" if number else nothing


def blocks_word(task: Task) -> str:
    """What blocks are called, in the plural."""
    return "frequencies" if task.group is None else task.group.basis.plural


def blocks_listed(task: Task, keys: Sequence[int]) -> str:
    """The names of some blocks, which are there only where a basis is known."""
    return listed([] if task.group is None else [task.group.basis.label(k) for k in keys])


def no_basis_told(task: Task) -> str:
    """Why nothing can be said of the circuit."""
    return f"No basis is known in which {task.words} would be sparse, so nothing is said of frequencies."


def growth_told(measures: ProgressMeasures, task: Task, detected: Mapping[str, Any]) -> Told:
    """Whether the loss with the key blocks alone fell on the plateau, before the validation loss."""
    keys = measures.key_frequencies
    if task.group is None:
        return Told("Losses and weights on the way", no_basis_told(task))
    if not are_few(keys, task):
        return Told(
            "Restricted and excluded loss",
            f"Both are of the {blocks_word(task)} that are key at the end. {many(keys, task)}: so "
            f"restricted loss keeps nearly all of the logits that depends on {task.group.answer} alone, "
            "and excluded loss removes it.",
        )
    restricted = halved(measures.epochs, measures.restricted_losses)
    validation = halved(measures.epochs, measures.validation_losses)
    memorised, grokked = detected["memorization_epoch"], detected["grok_epoch"]
    grew = restricted is not None and grokked is not None and memorised <= restricted < grokked
    return Told(
        "The circuit grows on the plateau" if grew else "Restricted and excluded loss",
        f"Key {blocks_word(task)} at the end: {blocks_listed(task, keys)}. With them alone the loss "
        f"{_fell(restricted)}; the "
        f"{'validation loss' if measures.has_split else 'loss over all pairs'} {_fell(validation)}.",
    )


def halved(epochs: Sequence[int], series: Series) -> int | None:
    """The first epoch after the last at which the series is at least half its maximum."""
    known = [value for value in series if value is not None]
    if not known:
        return None
    high = [i for i, v in enumerate(series) if v is None or v >= max(known) / 2]
    return epochs[high[-1] + 1] if high[-1] + 1 < len(epochs) else None


def _fell(epoch: int | None) -> str:
    if epoch is None:
        return "has not fallen below half of its maximum for good"
    return f"fell below half of its maximum for good at epoch {epoch:,}"


def spectrum_told(film: Film, control: str) -> Told:
    """The spectrum of the embedding, first and last; `control` is that of the key blocks."""
    keys, task = film.key_frequencies, film.task
    rule = f"Key is a norm in W_L above {KEY_SHARE:.0%} of the largest; control: {control}."
    if not are_few(keys, task):
        tenth = strongest_frequencies(film)
        where = f"the strongest tenth ({blocks_listed(task, tenth)})"
        return Told(
            f"No few {blocks_word(task)} stand out",
            f"A network that has grokked would show bands. Here {many(keys, task)}. "
            f"{_held(film, tenth, where)} {rule}",
        )
    before, now = (share_of(film.spectra[frame], keys) for frame in (0, -1))
    lead = now >= MOST and now > before
    return Told(
        f"A few {blocks_word(task)} take over the embedding"
        if lead
        else f"A few {blocks_word(task)} stand out",
        f"Look for bands: {len(keys)} of {task.blocks} {blocks_word(task)} are key at the end "
        f"({blocks_listed(task, keys)}). "
        f"{_held(film, keys, 'the key ones')} {rule}",
    )


def _held(film: Film, frequencies: Sequence[int], where: str) -> str:
    before, now = (share_of(film.spectra[frame], frequencies) for frame in (0, -1))
    return (
        f"{now:.1%} of the embedding's squared norm (constant part left out) lies in {where} at epoch "
        f"{film.epochs[-1]:,}; at epoch {film.epochs[0]:,} it was {before:.1%}."
    )


def many(keys: Sequence[int], task: Task) -> str:
    """How many key blocks there are where they are not few, in words."""
    count, few = task.blocks, few_blocks(task)
    return f"{len(keys)} of {count} {blocks_word(task)} are key; a few would be at most {few}"


def share_of(spectrum: Array, frequencies: Sequence[int]) -> float:
    """Share of some frequencies in the squares of a spectrum; 0 if it is empty."""
    squares = np.square(spectrum)
    total = float(squares.sum())
    return float(squares[[k - 1 for k in frequencies]].sum()) / total if total > 0 else 0.0


def strongest_frequencies(film: Film) -> list[int]:
    """The strongest tenth of the frequencies of the last embedding, ascending; at least one."""
    count = max(1, film.spectra.shape[1] // 10)
    return sorted((np.argsort(film.spectra[-1])[::-1][:count] + 1).tolist())


def circles_told(circles: Sequence[Circle]) -> Told:
    """Where the numbers lie on circles in their order, and where not."""
    lowest = min(circle.control[0] for circle in circles)
    highest = max(circle.control[1] for circle in circles)
    control = f"In random order they would be off by {lowest:.0%} to {highest:.0%}."
    limit = f"up to {ROUND:.0%}, and less than by chance, counts as a circle"
    round_ones = [circle for circle in circles if circle.is_round]
    if not round_ones:
        nearest = min(circles, key=lambda circle: circle.roughness)
        return Told(
            "The numbers do not lie on circles",
            "In a network that has grokked they lie like the hours of a dial, along cos and sin of a key "
            f"frequency. Here the nearest to that is frequency {nearest.frequency}, whose numbers are "
            f"off their hours by {nearest.roughness:.0%} of the radius; {limit}. {control}",
        )
    most = max(circle.roughness for circle in round_ones)
    others = [circle.frequency for circle in circles if not circle.is_round]
    beside = f" Not so {listed(others)}: {limit}." if others else ""
    return Told(
        "Numbers on circles",
        f"Look for circles: along cos and sin of frequency "
        f"{listed([circle.frequency for circle in round_ones])} the network has laid its "
        f"{len(circles[0].points)} numbers out like the hours of a clock. They are off their hours by at "
        f"most {most:.0%} of the radius (root mean square). {control}{beside}",
    )


def waves_told(shares: Sequence[float], neurons: str, task: Task) -> Told:
    """How many of some neurons, in words, are waves; `shares` of their variance in one block."""
    if task.group is None:
        return Told("Neurons", no_basis_told(task))
    block = task.group.basis.kind
    periodic = sum(share > PERIODIC for share in shares)
    if block == "irrep":
        told = (
            f"{periodic} of {len(shares)} {neurons} have more than {PERIODIC:.0%} of their variance"
        )
        return Told("Irreps in the neurons", f"{told} over all pairs of operands in one irrep.")
    if periodic == 0:
        return Told(
            "No waves in the neurons",
            "A neuron that takes part in the algorithm is one wave over all pairs of operands: more than "
            f"{PERIODIC:.0%} of its variance in one {block}. Of {len(shares)} {neurons} none is; the "
            f"nearest has {max(shares, default=0.0):.1%}.",
        )
    return Told(
        "Waves in the neurons",
        f"Look for rows of hills: {periodic} of {len(shares)} {neurons} are one wave over all pairs of "
        f"operands, with more than {PERIODIC:.0%} of their variance in one {block}.",
    )


def hills_told(film: Film) -> str:
    """Whether hills form in the neuron of a film that ends nearest to one wave, and when."""
    if film.task.group is None:
        return f"Filmed are the neurons with the largest activations. {no_basis_told(film.task)}"
    filmed = max(film.neurons, key=lambda filmed: filmed.shares[-1])
    wave = f"of its variance in {block_named(film.task, filmed.frequency)}"
    waves = film.task.group.basis.kind == "frequency"
    simple = "one wave" if waves else "in one irrep"
    if filmed.shares[-1] <= PERIODIC:
        best = int(np.argmax(filmed.shares))
        return (
            f"No neuron of this film ends {'as ' * waves}{simple}: the nearest, neuron {filmed.neuron}, holds "
            f"{filmed.shares[-1]:.1%} {wave} at the end, and {filmed.shares[best]:.1%} at most (epoch "
            f"{film.epochs[best]:,})."
        )
    below = [frame for frame, share in enumerate(filmed.shares) if share < MOST]
    if not below:
        return (
            f"Neuron {filmed.neuron} is {simple} at the end, and has held more than {MOST:.0%} {wave} "
            "from the first frame on."
        )
    since = below[-1] + 1
    shapes = "two levels" if has_two_levels(film.task.group, filmed.frequency) else "hills"
    look_for = f"Look for the {shapes} that form out of noise" if waves else "An irrep takes over"
    return (
        f"{look_for}: neuron {filmed.neuron} has held more than {MOST:.0%} "
        f"{wave} since epoch {film.epochs[since]:,}, when the accuracy on "
        f"{'unseen' if film.has_split else 'all'} pairs was {film.validation_accuracies[since]:.0%}."
    )


def groups_told(gallery: Gallery) -> str:
    """How the neurons divide among the blocks."""
    count, keys, task = len(gallery.neurons), gallery.key_frequencies, gallery.task
    periodic = sum(share > PERIODIC for share in gallery.shares)
    dead = sum(peak == 0 for peak in gallery.peaks)
    on_key = sum(frequency in keys for frequency in gallery.frequencies)
    silent = f" {dead} are dead: no pair of operands makes them fire." if dead else ""
    if task.group is None:
        return f"{no_basis_told(task)}{silent}"
    are = "are one wave, with" if task.group.basis.kind == "frequency" else "have"
    figures = (
        f"{periodic} of {count} neurons {are} more than {PERIODIC:.0%} of their variance in "
        f"one {task.group.basis.kind}.{silent}"
    )
    if not are_few(keys, task):
        return (
            f"A network that has grokked divides its neurons among a few {blocks_word(task)}. Here "
            f"{many(keys, task)}: so a group shows no more than where its neurons are "
            f"strongest. {figures}"
        )
    look_for = (
        "Look for groups: all neurons of one follow the same irrep. "
        if task.group.basis.kind == "irrep"
        else "Look for groups: all neurons of one show the same waves, shifted. "
        if periodic >= MOST * count
        else "Look at the beginning of a group, where its neurons are nearest to one wave. "
    )
    return (
        f"{look_for}{on_key} of {count} neurons are strongest in a key {task.group.basis.kind} "
        f"({blocks_listed(task, keys)}). {figures}"
    )


def listed(names: Sequence[object]) -> str:
    return ", ".join(map(str, names))
