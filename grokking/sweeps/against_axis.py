"""When runs generalised, against the values of the first axis: medians with intervals, runs, and who was cut
off. Where they grokked this is their grok epoch."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import plotly.graph_objects as go

from grokking.pictures.drawings import Button, Buttons, Drawing
from grokking.pictures.style import TEMPLATE, Style, value_styles
from grokking.sweeps.axis import Axis, value_words
from grokking.sweeps.look import NOT_YET_GLYPH, evenly, legend_below
from grokking.sweeps.records import Cell, RunRecord, Sweep, median_generalising
from grokking.sweeps.survival import median_interval

MOST_LINES = 10  # that a reader can tell apart
LOOK_FOR = (
    "A line joins the Kaplan-Meier medians of the epoch of generalising, which is the grok epoch of a run that "
    "grokked; a bar is the interval of the median (of three runs from first to last, which covers it in 75 %, "
    "of six in 97 %). Points are runs, open where they generalised at once. An arrow: the median was not "
    "reached by the last epoch; a bar that ends there has no upper end."
)
NONE = (
    "No run has generalised: an arrow stands at the last epoch to which a cell's runs were watched."
)


def epoch_figure(sweep: Sweep) -> Drawing:
    """One line per value of the axes after the first."""
    figure = go.Figure(layout={"template": TEMPLATE, "height": 460})
    places = _places(sweep.axes[0])
    panels = sweep.panels()
    drawn = [list(panels)[place] for place in evenly(len(panels), MOST_LINES)]
    looks = value_styles(drawn)
    for rest in drawn:
        line = _Line(sweep, ", ".join(map(value_words, rest)), panels[rest], places, looks[rest])
        figure.add_traces([line.runs(), line.medians(), line.beyond()])
    figure.update_yaxes(
        title_text="epoch of generalising", title_standoff=14, tickformat=",", rangemode="tozero"
    )
    others = " x ".join(axis.name for axis in sweep.axes[1:])
    figure.update_layout(legend=legend_below(others), showlegend=bool(others))
    _label(figure, sweep.axes[0], places)
    kinds = [
        Button("Linear epochs", {}, {"yaxis.type": "linear", "yaxis.autorange": True}),
        Button("Log epochs", {}, {"yaxis.type": "log", "yaxis.autorange": True}),
    ]
    title = f"When runs generalised, against {sweep.axes[0].name}"
    some = f" {len(drawn)} of {len(panels)} lines are drawn." if len(drawn) < len(panels) else ""
    look_for = LOOK_FOR if any(run.generalising.event for run in sweep.runs) else NONE
    return Drawing(figure, title, look_for + some, Buttons("epoch axis", kinds))


def _places(axis: Axis) -> dict[Any, float]:
    """Where the values stand: numbers at themselves, others beside each other."""
    if axis.is_of_numbers:
        return {value: float(value) for value in axis.values}
    return {value: float(place) for place, value in enumerate(axis.values)}


class _Line(NamedTuple):
    """The cells along the axis at one value of the others, and how they are drawn."""

    sweep: Sweep
    name: str
    cells: dict[Cell, list[RunRecord]]
    places: dict[Any, float]
    look: Style

    def runs(self) -> go.Scatter:
        """A point for every run that generalised, open where it did so at once."""
        runs = [run for of_cell in self.cells.values() for run in of_cell if run.generalising.event]
        words = [f"{self.sweep.named(r.cell)}, seed {r.seed}: {r.outcome_in_words}" for r in runs]
        symbol = self.look.symbol
        return go.Scatter(
            x=[self.places[run.cell[0]] for run in runs],
            y=[run.generalization_epoch for run in runs],
            mode="markers",
            marker={
                "color": self.look.color,
                "symbol": [symbol if run.grokked else f"{symbol}-open" for run in runs],
                "size": 6,
                "opacity": 0.5,
            },
            text=words,
            hovertemplate="%{text}<extra></extra>",
            legendgroup=self.name,
            showlegend=False,
        )

    def medians(self) -> go.Scatter:
        """The medians that were reached, with their intervals."""
        found = {cell: median_generalising(runs) for cell, runs in self.cells.items()}
        known = {cell: median for cell, median in found.items() if median is not None}
        ends = [_interval(self.cells[cell], median) for cell, median in known.items()]
        return go.Scatter(
            x=[self.places[cell[0]] for cell in known],
            y=list(known.values()),
            error_y={
                "symmetric": False,
                "array": [high - m for m, (_, high) in zip(known.values(), ends, strict=True)],
                "arrayminus": [m - low for m, (low, _) in zip(known.values(), ends, strict=True)],
                "thickness": 1.5,
            },
            mode="lines+markers",
            line={"color": self.look.color, "dash": self.look.dash, "width": 2},
            marker={"color": self.look.color, "symbol": self.look.symbol, "size": 9},
            text=[self.sweep.named(cell) for cell in known],
            hovertemplate="median epoch %{y:,}<br>%{text}<extra></extra>",
            name=self.name,
            legendgroup=self.name,
        )

    def beyond(self) -> go.Scatter:
        """An arrow where a median was not reached."""
        cells = [cell for cell, runs in self.cells.items() if median_generalising(runs) is None]
        line = {"width": 2, "color": self.look.color}
        return go.Scatter(
            x=[self.places[cell[0]] for cell in cells],
            y=[max(run.last_seen for run in self.cells[cell]) for cell in cells],
            mode="markers",
            marker={"symbol": NOT_YET_GLYPH, "size": 14, "color": self.look.color, "line": line},
            text=[self.sweep.named(cell) for cell in cells],
            hovertemplate="median not reached by epoch %{y:,}<br>%{text}<extra></extra>",
            legendgroup=self.name,
            showlegend=False,
        )


def _interval(runs: Sequence[RunRecord], median: int) -> tuple[int, int]:
    """Of the median, as far as the runs were followed."""
    observations = [run.generalising for run in runs]
    interval = median_interval(observations)
    if interval is None:
        return median, median
    last = max(o.time for o in observations) if interval.high is None else interval.high
    return min(interval.low, median), max(last, median)


def _label(figure: go.Figure, axis: Axis, places: dict[Any, float]) -> None:
    """The axis below, logarithmic where the values are."""
    at = sorted(places.values())
    ratios = [b / a for a, b in pairwise(at)] if at[0] > 0 else []
    logarithmic = axis.is_of_numbers and bool(ratios) and max(at) / min(at) >= 8
    crowded = logarithmic and min(ratios) < 1.2
    figure.update_xaxes(
        title_text=axis.name,
        type="log" if logarithmic else "linear",
        tickvals=None if crowded else list(places.values()),
        ticktext=None if crowded else [value_words(value) for value in places],
        tickangle=0 if len(at) <= 10 else None,
    )
    if not logarithmic and at:
        margin = 0.06 * (at[-1] - at[0]) or 0.5
        figure.update_xaxes(range=[at[0] - margin, at[-1] + margin])
    elif logarithmic:
        margin = 0.06 * math.log10(at[-1] / at[0])
        figure.update_xaxes(range=[math.log10(at[0]) - margin, math.log10(at[-1]) + margin])
