"""gallery.html: every neuron of a run as a small picture, grouped by its strongest frequency."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from grokking.analysis.scenes import Gallery
from grokking.analysis.spectra import are_few
from grokking.pictures.experiment import Experiment
from grokking.pictures.figures.spectrum import block_word
from grokking.pictures.figures.surfaces import (
    empty_surface_figure,
    script_heights,
    script_holes,
    script_order,
)
from grokking.pictures.introduction import introduce
from grokking.pictures.pages.page import Block, Prose, Widget, write_page
from grokking.pictures.structure_sentences import block_named, groups_told
from grokking.pictures.style import shades
from grokking.pictures.surface_views import natural_order, operands_told, order_of_waves


def write_gallery_page(path: Path, described: Experiment, gallery: Gallery) -> Path:
    """Write the page with plotly.js in it."""
    blocks: list[Block] = [
        *introduce(described),
        Prose(
            [
                groups_told(gallery),
                "Choose a neuron to see it in 3-D.",
                *neurons_left_out(gallery),
            ]
        ),
        Widget("gallery", gallery_data(gallery)),
        Prose(
            [
                "Each picture runs from 0 (dark) to its neuron's own peak (bright); heights are drawn "
                "in 255 equal steps of it.",
                *operands_told(gallery.task),
            ]
        ),
    ]
    return write_page(path, f"All neurons of a run: {described.title}", blocks, "inline")


def neurons_left_out(gallery: Gallery) -> list[str]:
    if not gallery.left_out:
        return []
    return [
        f"{gallery.left_out} neurons with smaller shares are left out: the page would grow too large."
    ]


def gallery_data(gallery: Gallery) -> dict[str, Any]:
    """What the page's script `gallery` takes; key frequencies are marked where they are few."""
    keys = gallery.key_frequencies if are_few(gallery.key_frequencies, gallery.task) else ()
    places = sorted(range(len(gallery.neurons)), key=lambda i: _rank(gallery.frequencies[i], keys))
    groups = groupby(places, key=lambda i: gallery.frequencies[i])
    return {
        "modulus": gallery.modulus,
        "natural": script_order(natural_order(gallery.modulus, gallery.task.holes)),
        "holes": script_holes(gallery.task.holes),
        "heights": script_heights(gallery.heights),
        "colors": shades(),
        "figure": empty_surface_figure(),
        "groups": [_group(gallery, frequency, list(of), keys) for frequency, of in groups],
    }


def _rank(frequency: int, keys: Sequence[int]) -> tuple[bool, bool, int]:
    """Key frequencies first, neurons without a wave last; a stable sort keeps the rest in order."""
    return (frequency == 0, frequency not in keys, frequency)


def _group(
    gallery: Gallery, frequency: int, places: list[int], keys: Sequence[int]
) -> dict[str, Any]:
    named = block_named(gallery.task, frequency).capitalize()
    key = f", a key {block_word(gallery.task)}" if frequency in keys else ""
    count = f"{len(places)} neuron{'s' if len(places) != 1 else ''}"
    return {
        "title": f"{named}{key}: {count}",
        "waves": script_order(order_of_waves(gallery.task.group, frequency)),
        "neurons": [_neuron(gallery, place) for place in places],
    }


def _neuron(gallery: Gallery, place: int) -> dict[str, Any]:
    neuron, peak = gallery.neurons[place], gallery.peaks[place]
    frequency, share = gallery.frequencies[place], gallery.shares[place]
    if peak == 0:
        label, sentence = f"{neuron} dead", f"Neuron {neuron} is dead: no pair makes it fire."
    elif gallery.task.group is None:
        label, sentence = f"{neuron}", f"Neuron {neuron}: its largest activation is {peak:.3g}."
    elif not frequency:
        label, sentence = f"{neuron}", f"Neuron {neuron} gives every pair the same activation."
    else:
        label = f"{neuron} · {share:.0%}"
        sentence = (
            f"Neuron {neuron}: {block_named(gallery.task, frequency)} holds {share:.1%} of its variance; "
            f"its largest activation is {peak:.3g}."
        )
    return {"place": place, "peak": peak, "label": label, "told": sentence}
