"""A run's progress measures -> drawing: a pure function, without torch and without files."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from plotly.subplots import make_subplots

from grokking.analysis.phases import Phases, reals
from grokking.analysis.progress_measures import ProgressMeasures
from grokking.files.history import Series
from grokking.pictures.drawings import Drawing
from grokking.pictures.style import (
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    TEMPLATE,
    Style,
    curve,
    epoch_lines,
    parts,
)
from grokking.task import Task

RESTRICTED = Style(GREEN, "longdash", "diamond")
EXCLUDED = Style(PURPLE, "dashdot", "x")


def progress_figure(measures: ProgressMeasures, phases: Phases, task: Task) -> Drawing:
    """Losses (log axis) above, structure of the weights below, against epoch; phases marked.

    The paper's figure 7: excluded and restricted loss beside training and validation loss.
    """
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.09, row_heights=[0.6, 0.4])
    both = (measures.training_losses, measures.validation_losses)
    of = "training" if measures.has_split else "all"
    look_for = _look_for(task, "the training" if measures.has_split else "all")
    losses = [
        *(
            (f"{name} loss", style, series)
            for (name, style), series in parts(measures.has_split, both)
        ),
        ("restricted loss, all pairs", RESTRICTED, measures.restricted_losses),
        (f"excluded loss, {of} pairs", EXCLUDED, measures.excluded_losses),
    ]
    for name, style, series in _known(losses):
        figure.add_trace(curve(name, style, measures.epochs, series, "%{y:.3g}"), 1, 1)
    for name, style, series in _known(_structure(measures)):
        figure.add_trace(curve(name, style, measures.epochs, series, "%{y:.3f}"), 2, 1)
    figure.layout.template = TEMPLATE  # which update_layout would copy part by part
    figure.update_layout(
        height=600,
        legend={"orientation": "h", "x": 0, "y": -0.17, "yanchor": "top"},
        margin={"l": 8, "r": 32, "t": 48, "b": 8},
        shapes=_marks(phases, measures.epochs[-1]),
        yaxis={"type": "log", "title": {"text": "loss"}, "exponentformat": "power", "nticks": 6},
        yaxis2={"range": [-0.03, 1.03], "title": {"text": "structure"}},
        xaxis2={"tickformat": ",", "title": {"text": "epoch"}},
    )
    return Drawing(figure, "Progress measures", look_for)


def _look_for(task: Task, pairs: str) -> str:
    """What the curves mean that are there: without a known basis neither ablations nor spectra."""
    if task.group is None:
        return "Losses above; below, the sum of squared weights."
    basis = task.group.basis
    single = "1" if basis.kind == "frequency" else f"{1 - 1 / len(basis.sizes):.2f}"
    return (
        f"Restricted loss is that of the key {basis.plural} alone, excluded loss that of {pairs} pairs "
        f"without them. Below, a Gini coefficient of {single} would be a spectrum of one {basis.kind}."
    )


def _known(lines: Iterable[tuple[str, Style, Series]]) -> list[tuple[str, Style, Series]]:
    """Those that were measured: without a known basis only what needs none is."""
    return [line for line in lines if any(value is not None for value in line[2])]


def _structure(measures: ProgressMeasures) -> list[tuple[str, Style, Series]]:
    """Three measures that lie in [0, 1]."""
    squares = reals(measures.squares_total)
    relative: Series = (squares / np.nanmax(squares)).tolist()
    return [
        ("Gini of W_E's spectrum", Style(ORANGE, "solid", "circle"), measures.W_E_gini),
        ("Gini of W_L's spectrum", Style(ORANGE, "dot", "circle"), measures.W_L_gini),
        ("sum of squared weights / its maximum", Style(INK, "longdash", "square"), relative),
    ]


def _marks(phases: Phases, last: int) -> list[dict[str, Any]]:
    """The end of each phase.

    Named above the upper panel, above the lower one and at its foot, so that the names never meet,
    and towards the middle, so that none is cut off.
    """
    ends = (
        ("end of memorisation phase", phases.memorization, "x", "end"),
        ("end of circuit formation", phases.circuit_formation, "x2", "end"),
        ("end of cleanup", phases.cleanup, "x2", "start"),
    )
    return epoch_lines(
        (name, epoch, home, "left" if (epoch or 0) < last / 2 else "right", position)
        for name, epoch, home, position in ends
    )
