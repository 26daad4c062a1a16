"""When runs generalised, against the values of the first axis: medians with intervals, runs, and who was cut
off. Where they grokked this is their grok epoch."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from grokking.pictures.drawings import Button, Buttons, Drawing
from grokking.pictures.style import TEMPLATE, Style, value_styles
from grokking.sweeps.axis import Axis, value_words
from grokking.sweeps.look import NOT_YET_GLYPH, evenly
from grokking.sweeps.records import Cell, RunRecord, Sweep
from grokking.sweeps.survival import median_interval, median_time

MOST_LINES = 8  # that a reader can tell apart
LOOK_FOR = (
    "A line joins the Kaplan-Meier medians of the epoch of generalising, which is the grok epoch of a run that "
    "grokked; a bar is the interval of the median (of three runs from first to last, which covers it in 75 %, "
    "of six in 97 %). Points are runs, open where they generalised at once. An arrow: the median was not "
    "reached by the last epoch; a bar that ends there has no upper end."
)


def epoch_figure(sweep: Sweep) -> Drawing:
    """One line per value of the axes after the first."""
    figure = go.Figure(layout={"template": TEMPLATE, "height": 460})
    places = _places(sweep.axes[0])
    panels = sweep.panels()
    drawn = [list(panels)[place] for place in evenly(len(panels), MOST_LINES)]
    looks = value_styles(drawn)
    for rest in drawn:
        _add_line(figure, sweep, rest, panels[rest], places, looks[rest])
    figure.update_yaxes(
        title_text="epoch of generalising", title_standoff=14, tickformat=",", rangemode="tozero"
    )
    figure.update_layout(
        legend={
            "title": {"text": " x ".join(axis.name for axis in sweep.axes[1:]), "side": "top"},
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
        },
        showlegend=len(sweep.axes) > 1,
    )
    _label(figure, sweep.axes[0], places)
    kinds = [
        Button("Linear epochs", {}, {"yaxis.type": "linear", "yaxis.autorange": True}),
        Button("Log epochs", {}, {"yaxis.type": "log", "yaxis.autorange": True}),
    ]
    title = f"When runs generalised, against {sweep.axes[0].name}"
    some = f" {len(drawn)} of {len(panels)} lines are drawn." if len(drawn) < len(panels) else ""
    return Drawing(figure, title, LOOK_FOR + some, Buttons("epoch axis", kinds))


def _places(axis: Axis) -> dict[Any, float]:
    """Where the values stand: numbers at themselves, others beside each other."""
    if axis.is_of_numbers:
        return {value: float(value) for value in axis.values}
    return {value: float(place) for place, value in enumerate(axis.values)}


def _add_line(
    figure: go.Figure,
    sweep: Sweep,
    rest: Cell,
    cells: dict[Cell, list[RunRecord]],
    places: dict[Any, float],
    look: Style,
) -> None:
    name = ", ".join(map(value_words, rest))
    runs = [run for of_cell in cells.values() for run in of_cell if run.generalising.event]
    figure.add_scatter(
        x=[places[run.cell[0]] for run in runs],
        y=[run.generalization_epoch for run in runs],
        mode="markers",
        marker={
            "color": look.color,
            "symbol": [look.symbol if run.grokked else f"{look.symbol}-open" for run in runs],
            "size": 6,
            "opacity": 0.5,
        },
        text=[f"{sweep.named(run.cell)}, seed {run.seed}: {run.outcome_in_words}" for run in runs],
        hovertemplate="%{text}<extra></extra>",
        legendgroup=name,
        showlegend=False,
    )
    known = [
        (cell, median)
        for cell, of_cell in cells.items()
        if (median := _median(of_cell)) is not None
    ]
    intervals = [_interval(cells[cell]) for cell, _ in known]
    figure.add_scatter(
        x=[places[cell[0]] for cell, _ in known],
        y=[median for _, median in known],
        error_y={
            "symmetric": False,
            "array": [
                high - median for (_, median), (_, high) in zip(known, intervals, strict=True)
            ],
            "arrayminus": [
                median - low for (_, median), (low, _) in zip(known, intervals, strict=True)
            ],
            "thickness": 1.5,
        },
        mode="lines+markers",
        line={"color": look.color, "dash": look.dash, "width": 2},
        marker={"color": look.color, "symbol": look.symbol, "size": 9},
        text=[sweep.named(cell) for cell, _ in known],
        hovertemplate="median epoch %{y:,}<br>%{text}<extra></extra>",
        name=name,
        legendgroup=name,
    )
    beyond = [cell for cell, of_cell in cells.items() if _median(of_cell) is None]
    figure.add_scatter(
        x=[places[cell[0]] for cell in beyond],
        y=[max(run.last_seen for run in cells[cell]) for cell in beyond],
        mode="markers",
        marker={
            "symbol": NOT_YET_GLYPH,
            "size": 14,
            "color": look.color,
            "line": {"width": 2, "color": look.color},
        },
        text=[sweep.named(cell) for cell in beyond],
        hovertemplate="median not reached by epoch %{y:,}<br>%{text}<extra></extra>",
        legendgroup=name,
        showlegend=False,
    )


def _median(runs: Sequence[RunRecord]) -> int | None:
    return median_time([run.generalising for run in runs])


def _interval(runs: Sequence[RunRecord]) -> tuple[int, int]:
    """Of the median, as far as the runs were followed."""
    observations = [run.generalising for run in runs]
    interval = median_interval(observations)
    median = median_time(observations)
    assert median is not None
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
