"""film.html: a run's neurons from the first epoch to the last, beside its accuracy and spectrum."""

from pathlib import Path

import numpy as np
import plotly.graph_objects as go

from grokking.analysis.scenes import Film, FilmedNeuron
from grokking.analysis.spectra import are_few
from grokking.pictures.experiment import Experiment
from grokking.pictures.figures.spectrum import block_labels, block_word, frequency_ticks
from grokking.pictures.figures.surfaces import (
    empty_surface_figure,
    script_heights,
    script_holes,
    script_order,
)
from grokking.pictures.introduction import introduce
from grokking.pictures.pages.page import Block, Prose, Widget, write_page
from grokking.pictures.structure_sentences import block_named, blocks_word, hills_told
from grokking.pictures.style import BLUE, INK, MUTED, TEMPLATE, curve, parts
from grokking.pictures.surface_views import natural_order, operands_told, order_of_waves

SCALE = (
    "Every frame fills the height: its colour bar runs from 0 to the largest activation at that epoch, "
    "in 255 equal steps."
)

_MARGIN = {"l": 8, "r": 8, "t": 8, "b": 8}


def write_film_page(path: Path, described: Experiment, film: Film) -> Path:
    """Write the page with plotly.js in it; under 10 MB (see scenes.FILM_BYTES)."""
    blocks: list[Block] = [
        *introduce(described),
        Prose([f"Press Play: {len(film.epochs)} recorded epochs. {hills_told(film)}"]),
        Widget("film", film_data(film)),
        Prose([SCALE, *operands_told(film.task)]),
    ]
    return write_page(path, f"The film of a run: {described.title}", blocks, "inline")


def film_data(film: Film) -> dict[str, object]:
    """What the page's script `film` takes."""
    return {
        "modulus": film.modulus,
        "natural": script_order(natural_order(film.modulus, film.task.holes)),
        "holes": script_holes(film.task.holes),
        "epochs": film.epochs,
        "first_drawn_epoch": _first_drawn(film),
        "training": film.training_accuracies if film.has_split else None,
        "validation": film.validation_accuracies,
        "spectrum_title": f"{blocks_word(film.task).capitalize()} in the embedding",
        "spectra": film.spectra.round(4).tolist(),
        "neurons": [
            {
                "label": label(film, filmed),
                "neuron": filmed.neuron,
                "block": block_named(film.task, filmed.frequency) if filmed.frequency else None,
                "peaks": filmed.peaks,
                "shares": filmed.shares,
                "waves": script_order(order_of_waves(film.task.group, filmed.frequency)),
                "heights": script_heights(filmed.heights),
            }
            for filmed in film.neurons
        ],
        "figures": {
            "surface": empty_surface_figure(),
            "curves": _accuracy_figure(film),
            "spectrum": None if film.task.group is None else _spectrum_figure(film),
        },
    }


def label(film: Film, filmed: FilmedNeuron) -> str:
    """Its block, and its number where another neuron has the same one."""
    if not filmed.frequency:
        return f"Neuron {filmed.neuron}"
    alone = [other.frequency for other in film.neurons].count(filmed.frequency) == 1
    named = block_named(film.task, filmed.frequency).capitalize()
    return named + ("" if alone else f", neuron {filmed.neuron}")


def _first_drawn(film: Film) -> int:
    """The leftmost epoch of the logarithmic axis."""
    return next((epoch for epoch in film.epochs if epoch > 0), 1)


def _accuracy_figure(film: Film) -> go.Figure:
    curves = []
    both = (film.training_accuracies, film.validation_accuracies)
    for (name, style), accuracies in parts(film.has_split, both):
        points = {"size": 4, "symbol": style.symbol}
        drawn = curve(name, style, film.epochs, accuracies, "accuracy %{y:.2%}")
        curves.append(drawn.update(mode="lines+markers", marker=points))
    layout = {
        "template": TEMPLATE,
        "margin": {**_MARGIN, "t": 24},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": {"type": "log", "dtick": 1, "tickformat": ",", "title": {"text": "epoch"}},
        "yaxis": {"range": [-0.03, 1.03], "tickformat": ".0%"},
        "shapes": [
            {
                "type": "line",
                "yref": "paper",
                "x0": film.epochs[-1],
                "x1": film.epochs[-1],
                "y0": 0,
                "y1": 1,
                "line": {"color": INK, "width": 2},
            }
        ],
    }
    return go.Figure(curves, layout)


def _spectrum_figure(film: Film) -> go.Figure:
    frequencies = np.arange(1, film.spectra.shape[1] + 1)
    keys = set(film.key_frequencies) if are_few(film.key_frequencies, film.task) else set()
    legend = f" (blue: the final key {blocks_word(film.task)})" if keys else ""
    bars = go.Bar(
        x=frequencies,
        y=film.spectra[-1],
        marker={"color": [BLUE if k in keys else MUTED for k in frequencies.tolist()]},
        customdata=block_labels(film.task),
        hovertemplate=f"{block_word(film.task)} %{{customdata}}<br>norm in W_E %{{y:.3g}}<extra></extra>",
    )
    layout = {
        "template": TEMPLATE,
        "margin": _MARGIN,
        "bargap": 0.2,
        "xaxis": {
            "title": {"text": f"{block_word(film.task)}{legend}"},
            "tickangle": 0,
            **frequency_ticks(film.key_frequencies, film.task),
        },
        "yaxis": {"range": [0, float(film.spectra.max()) * 1.05], "title": {"text": "norm"}},
    }
    return go.Figure(bars, layout)
