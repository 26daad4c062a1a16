"""What the figures of a sweep share: looks of the weight decays, epoch axis and its buttons, legend."""

from typing import Any

import plotly.graph_objects as go

from grokking.pictures.style import Style, weight_decay_styles
from grokking.sweep.records import Sweep

# Glyphs that no weight decay has.
NOT_YET, NEVER = "arrow-bar-up", "asterisk-open"


def styles(sweep: Sweep) -> dict[float, Style]:
    """One look per weight decay of the sweep."""
    return weight_decay_styles(sweep.groups())


def marker(style: Style) -> dict[str, Any]:
    """A weight decay's marker, with a white rim so that crowded ones stay apart."""
    return {
        "color": style.color,
        "symbol": style.symbol,
        "size": 10,
        "line": {"color": "white", "width": 1},
    }


def with_epoch_axis(figure: go.Figure) -> go.Figure:
    """The figure with epochs on x, and buttons for a linear or logarithmic axis."""
    figure.update_xaxes(title_text="epoch", tickformat=",", nticks=6)
    return figure.update_layout(updatemenus=[axis_buttons("xaxis")], margin_r=32)


def axis_buttons(axis: str) -> dict[str, Any]:
    """Buttons that make the axis ("xaxis" or "yaxis") linear or logarithmic."""
    buttons = [
        {
            "label": f"{name} epochs",
            "method": "relayout",
            "args": [{f"{axis}.type": kind, f"{axis}.autorange": True}],
        }
        for name, kind in (("Linear", "linear"), ("Log", "log"))
    ]
    return {"type": "buttons", "name": "epoch axis", "buttons": buttons}


def titled(figure: go.Figure, title: str, look_for: str) -> go.Figure:
    """The figure with its title, a sentence on what to look for, and the legend below it."""
    return figure.update_layout(
        title={"text": title, "subtitle": {"text": look_for}},
        legend={
            "title": {"text": "weight decay", "side": "top"},
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
        },
    )
