"""A run's history -> plotly figure: a pure function, without torch and without files."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from grokking.artifacts import History
from grokking.pictures.outcome_sentences import gap, outcome_title
from grokking.pictures.style import TEMPLATE, TRAINING, VALIDATION, curve, epoch_line

_AXES = {  # button -> kind of axis, step of its labels, what it shows
    "Log epochs": ("log", 1, "The log axis begins at the first probe after epoch 0."),
    "Linear epochs": ("linear", None, "The linear axis shows how long each stretch lasts."),
}


def history_figure(history: History, phases: Mapping[str, Any]) -> go.Figure:
    """Loss (log axis) and accuracy against epoch, log or linear by a button.

    `phases` is as grokking.json has it. A value that was not finite leaves a gap. The axis stays
    linear for a history with too little after epoch 0, which a logarithmic one cannot show.
    """
    axis = "Log epochs" if sum(epoch > 0 for epoch in history.epochs) > 1 else "Linear epochs"
    figure = make_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.09)
    epochs = np.array(history.epochs, dtype=np.int64)
    panels = (
        (1, "loss %{y:.3g}", history.training_losses, history.validation_losses),
        (2, "accuracy %{y:.2%}", history.training_accuracies, history.validation_accuracies),
    )
    for row, hover, training, validation in panels:
        for name, style, series in (
            ("training", TRAINING, training),
            ("validation", VALIDATION, validation),
        ):
            figure.add_trace(curve(name, style, epochs, series, hover, legend=row == 2), row, 1)
    figure.update_layout(
        template=TEMPLATE,
        height=600,
        title={
            "text": f"Training history: {outcome_title(phases)}",
            "subtitle": {"text": _look_for(phases, axis)},
        },
        legend={"orientation": "h", "x": 0, "y": 1.05, "yanchor": "bottom"},
        margin={"l": 8, "r": 32, "t": 76, "b": 8},
        shapes=_marks(phases),
        updatemenus=[_axis_buttons(phases)] if axis == "Log epochs" else [],
        yaxis={"type": "log", "title": {"text": "loss"}, "exponentformat": "power", "nticks": 6},
        yaxis2={"range": [-0.03, 1.03], "tickformat": ".0%", "title": {"text": "accuracy"}},
        xaxis={"type": _AXES[axis][0], "dtick": _AXES[axis][1]},
        xaxis2={
            "type": _AXES[axis][0],
            "dtick": _AXES[axis][1],
            "tickformat": ",",
            "title": {"text": "epoch"},
        },
    )
    return figure


def _look_for(phases: Mapping[str, Any], axis: str) -> str:
    return f"{gap(phases)} {_AXES[axis][2]}"


def _marks(phases: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A dashed line through both panels for each phase that was reached.

    Named above the upper panel, above the lower one and within it, so that the names never meet.
    """
    generalised = "generalised" if phases["grok_epoch"] is None else "grokked"
    named = (
        ("memorised", phases["memorization_epoch"], "x", "left", "end"),
        (generalised, phases["generalization_epoch"], "x2", "right", "end"),
        ("collapsed", phases["collapse_epoch"], "x2", "right", "middle"),
    )
    return [
        epoch_line(
            epoch,
            axis,
            f"{name} at {epoch:,}" if axis == home else "",
            xanchor=anchor,
            textposition=position,
        )
        for name, epoch, home, anchor, position in named
        if epoch is not None
        for axis in ("x", "x2")
    ]


def _axis_buttons(phases: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "buttons",
        "direction": "right",
        "name": "epoch axis",
        "buttons": [
            {
                "label": label,
                "method": "relayout",
                "args": [
                    {
                        f"{axis}.{key}": value
                        for axis in ("xaxis", "xaxis2")
                        for key, value in (("type", kind), ("dtick", step), ("autorange", True))
                    }
                    | {"title.subtitle.text": _look_for(phases, label)}
                ],
            }
            for label, (kind, step, _) in _AXES.items()
        ],
    }
