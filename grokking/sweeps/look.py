"""What the figures of a sweep share: looks of the groups, legend, axis of epochs."""

from functools import lru_cache
from typing import Any

import plotly.graph_objects as go

from grokking.pictures.drawings import Drawing, epoch_buttons
from grokking.pictures.style import Style, value_styles
from grokking.sweeps.records import Cell, RunRecord, Sweep

# Glyphs that no group has.
MOST_PANELS = 24  # of a page
NOT_YET_GLYPH, NEVER_GLYPH = "arrow-bar-up", "asterisk-open"


def drawn_panels(sweep: Sweep) -> dict[Cell, dict[Cell, list[RunRecord]]]:
    """The panels of a sweep, or as many of them, evenly spaced, as a page can hold."""
    panels = list(sweep.panels().items())
    return dict(panels[place] for place in evenly(len(panels), MOST_PANELS))


def style_of(sweep: Sweep, cell: Cell) -> Style:
    """The look of a cell: that of its value of the first axis."""
    return _looks(sweep.axes[0].values)[cell[0]]


@lru_cache(maxsize=8)
def _looks(values: Cell) -> dict[Any, Style]:
    return value_styles(values)


def evenly(count: int, limit: int) -> list[int]:
    """Places of at most `limit` out of `count` things, both ends among them where there are two."""
    kept = min(count, limit)
    return [round(place * (count - 1) / max(1, kept - 1)) for place in range(kept)]


def marker(style: Style) -> dict[str, Any]:
    """A group's marker, with a white rim so that crowded ones stay apart."""
    return {
        "color": style.color,
        "symbol": style.symbol,
        "size": 10,
        "line": {"color": "white", "width": 1},
    }


def legend_below(title: str) -> dict[str, Any]:
    """A legend in rows below the figure."""
    return {
        "title": {"text": title, "side": "top"},
        "orientation": "h",
        "yref": "container",
        "y": 0,
        "yanchor": "bottom",
        "x": 0,
    }


def sweep_drawing(
    sweep: Sweep, figure: go.Figure, title: str, look_for: str, epochs: str = ""
) -> Drawing:
    """The figure with its words, the legend below it, and buttons for the axis of `epochs`.

    That is "xaxis", "yaxis" or none.
    """
    figure.update_layout(legend=legend_below(sweep.axes[0].name))
    if not epochs:
        return Drawing(figure, title, look_for)
    figure.update_layout({epochs: {"title": {"text": "epoch"}, "tickformat": ","}})
    if epochs == "xaxis":
        figure.update_layout(xaxis_nticks=6, margin_r=32)
    return Drawing(figure, title, look_for, epoch_buttons(epochs))
