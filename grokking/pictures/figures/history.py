"""A run's history -> drawing: a pure function, without torch and without files."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from grokking.files.branches import Arm
from grokking.files.history import History
from grokking.pictures.branch_sentences import arm_told
from grokking.pictures.drawings import Drawing, epoch_axis, epoch_buttons
from grokking.pictures.outcome_sentences import gap, outcome_title
from grokking.pictures.style import OTHER_ARM, TEMPLATE, curve, epoch_lines, parts

_AXES = {  # kind of axis -> what it shows
    "log": "The log axis begins at the first probe after epoch 0.",
    "linear": "The linear axis shows how long each stretch lasts.",
}


def history_figure(
    history: History, phases: Mapping[str, Any], other: Arm | None = None
) -> Drawing:
    """Loss (log axis) and accuracy against epoch, log or linear by a button.

    `phases` is as grokking.json has it. A value that was not finite leaves a gap. The axis stays
    linear for a history with too little after epoch 0, which a logarithmic one cannot show. Of a branch
    `other` is the run that it forks from: behind its own curves, in grey.
    """
    kind = "log" if sum(epoch > 0 for epoch in history.epochs) > 1 else "linear"
    told = "" if other is None else f" {arm_told(other)}"
    looks = {kind: f"{gap(phases)} {axis}{told}" for kind, axis in _AXES.items()}
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.09)
    both_shown = other is not None and other.history is not None
    if other is not None and other.history is not None:
        _add_curves(figure, other.history, ", original", OTHER_ARM)
    _add_curves(figure, history, ", branch" if both_shown else "")
    figure.layout.template = TEMPLATE  # which update_layout would copy part by part
    figure.update_layout(
        height=600,
        legend={"orientation": "h", "x": 0, "y": 1.05, "yanchor": "bottom"},
        margin={"l": 8, "r": 32, "t": 76, "b": 8},
        shapes=[*_marks(phases), *_fork(other, history)],
        yaxis={"type": "log", "title": {"text": "loss"}, "exponentformat": "power", "nticks": 6},
        yaxis2={"range": [-0.03, 1.03], "tickformat": ".0%", "title": {"text": "accuracy"}},
        xaxis=epoch_axis(kind, decades=True),
        xaxis2={**epoch_axis(kind, decades=True), "tickformat": ",", "title": {"text": "epoch"}},
    )
    buttons = epoch_buttons("xaxis", "xaxis2", kinds=looks, decades=True)
    return Drawing(
        figure,
        f"Training history: {outcome_title(phases)}",
        looks[kind],
        buttons if kind == "log" else None,
    )


def _add_curves(figure: go.Figure, history: History, arm: str, color: str | None = None) -> None:
    """The curves of one arm, in a colour of its own if it has one; `arm` goes behind their names."""
    epochs = np.array(history.epochs, dtype=np.int64)
    panels = (
        (1, "loss %{y:.3g}", history.training_losses, history.validation_losses),
        (2, "accuracy %{y:.2%}", history.training_accuracies, history.validation_accuracies),
    )
    for row, hover, *both in panels:
        for (name, style), series in parts(history.has_split, both):
            look = style if color is None else style._replace(color=color)
            drawn = curve(f"{name}{arm}", look, epochs, series, hover, legend=row == 2)
            figure.add_trace(drawn, row, 1)


def _fork(other: Arm | None, history: History) -> list[dict[str, Any]]:
    """Named at the foot of the upper panel, on the side where there is room."""
    if other is None:
        return []
    anchor = "left" if 4 * other.at < history.epochs[-1] else "right"
    return epoch_lines([(f"fork at {other.at:,}", other.at, "x", anchor, "start")])


def _marks(phases: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Named above the upper panel, above the lower one and within it, so that the names never meet."""
    generalised = "generalised" if phases["grok_epoch"] is None else "grokked"
    named = (
        ("memorised", phases["memorization_epoch"], "x", "left", "end"),
        (generalised, phases["generalization_epoch"], "x2", "right", "end"),
        ("collapsed", phases["collapse_epoch"], "x2", "right", "middle"),
    )
    return epoch_lines(
        (f"{name} at {epoch or 0:,}", epoch, *where) for name, epoch, *where in named
    )
