"""Curves of a sweep's runs over the epochs: all in one figure, or one panel per value of an axis."""

from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from grokking.detection import THRESHOLD
from grokking.pictures.drawings import Drawing
from grokking.pictures.style import GREY, MUTED, TEMPLATE
from grokking.pictures.thinning import thinned
from grokking.sweeps.axis import capitalised
from grokking.sweeps.look import drawn_panels, evenly, marker, style_of, sweep_drawing
from grokking.sweeps.records import Cell, RunRecord, Sweep
from grokking.sweeps.survival import median_time

QUANTITIES = {  # history series -> axis title, jump that is always drawn
    "validation_accuracies": ("validation accuracy", 0.005),
    "validation_losses": ("validation loss", 0.02),
}
MOST_CURVES = 200  # of a page; of more runs each cell shows its first, and of more cells some
Cells = dict[Cell, list[RunRecord]]


def drawn_runs(sweep: Sweep, limit: int = MOST_CURVES) -> list[RunRecord]:
    """All runs, or as many of them as a page can draw: the first of each cell, cells evenly spaced."""
    if len(sweep.runs) <= limit:
        return sweep.runs
    firsts = [runs[0] for runs in sweep.cells.values()]
    return [firsts[place] for place in evenly(len(firsts), limit)]


def accuracy_figures(sweep: Sweep) -> list[Drawing]:
    """Validation accuracy of every run over the epochs, grok epochs marked; a figure per panel."""
    return [_accuracies(sweep, rest, cells) for rest, cells in drawn_panels(sweep).items()]


def _drawn_of(sweep: Sweep, cells: Cells) -> Cells:
    """The cells with those of their runs that are drawn."""
    drawn = {run.directory for run in drawn_runs(sweep)}
    return {cell: [run for run in runs if run.directory in drawn] for cell, runs in cells.items()}


def _accuracies(sweep: Sweep, rest: Cell, cells: Cells) -> Drawing:
    shown = _drawn_of(sweep, cells)
    figure = _curves(sweep, shown, "validation_accuracies")
    for cell, runs in shown.items():
        grokked = [run for run in runs if run.grok_epoch is not None]
        figure.add_scatter(
            x=[run.grok_epoch for run in grokked],
            y=[THRESHOLD] * len(grokked),
            mode="markers",
            marker=marker(style_of(sweep, cell)),
            legendgroup=sweep.label(cell),
            showlegend=False,
            text=[f"seed {run.seed}" for run in grokked],
            hovertemplate=f"grokked at epoch %{{x:,}}<br>%{{text}}<extra>{sweep.named(cell)}</extra>",
        )
    figure.add_hline(y=THRESHOLD, line={"color": MUTED, "width": 1, "dash": "dot"})
    figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    title = capitalised(sweep.panel_named(rest)) or "Validation accuracy of every run"
    return sweep_drawing(sweep, figure, title, _jump(sweep, cells), "xaxis")


def _jump(sweep: Sweep, cells: Cells) -> str:
    """What to look for in the accuracies, of what these runs show."""
    runs = [run for of_cell in cells.values() for run in of_cell]
    grokked = sum(run.grokked for run in runs)
    if grokked == 0:
        return f"Each line is one run. None of {len(runs)} has grokked."
    in_order = sweep.axes[0].is_of_numbers and _is_in_order(cells)
    further_left = f" The more {sweep.axes[0].name}, the further left." if in_order else ""
    return (
        f"Each line is one run. Look for the jump: {grokked} of {len(runs)} grokked.{further_left} "
        f"Markers: where the run crossed {THRESHOLD:.0%} for good."
    )


def _is_in_order(cells: Cells) -> bool:
    """Does every cell, of two or more, have an earlier median grok epoch than the one before?"""
    medians = [median_time([run.followed.observation for run in runs]) for runs in cells.values()]
    known = [median for median in medians if median is not None]
    return len(known) == len(medians) > 1 and all(a > b for a, b in pairwise(known))


def _climb(sweep: Sweep) -> str:
    """What the validation losses of these runs did, counted."""
    losses = [
        [loss for loss in sweep.histories[run.directory].validation_losses if loss is not None]
        for run in sweep.runs
    ]
    climbed = sum(max(series, default=0.0) > series[0] for series in losses if series)
    fell = sum(series[-1] < max(series) / 100 for series in losses if series)
    return (
        f"{climbed} of {len(losses)} runs climbed above the loss that they began with, as memorising "
        f"makes them; {fell} ended below a hundredth of their largest loss."
    )


def loss_figure(sweep: Sweep) -> Drawing:
    """Validation loss of every run on a logarithmic axis."""
    figure = _curves(sweep, _drawn_of(sweep, sweep.cells), "validation_losses")
    figure.update_yaxes(type="log", dtick=1, exponentformat="power")
    return sweep_drawing(sweep, figure, "Validation loss of every run", _climb(sweep), "xaxis")


def _curves(sweep: Sweep, cells: Cells, series: str) -> go.Figure:
    figure = go.Figure(layout={"template": TEMPLATE, "height": 460})
    named: set[str] = set()
    for cell, runs in cells.items():
        label, style = sweep.label(cell), style_of(sweep, cell)
        for run in runs:
            line = {"color": style.color, "dash": style.dash, "width": 1.6}
            trace = _trace(sweep, run, series, line)
            trace.update(name=label, legendgroup=label, showlegend=label not in named)
            named.add(label)
            figure.add_trace(trace)
    figure.update_yaxes(title_text=QUANTITIES[series][0])
    return figure


def _trace(sweep: Sweep, run: RunRecord, series: str, line: dict[str, Any]) -> go.Scatter:
    history = sweep.histories[run.directory]
    label, jump = QUANTITIES[series]
    logarithmic = series.endswith("losses")
    epochs, values = thinned(history.epochs, getattr(history, series), jump, logarithmic)
    return go.Scatter(
        x=epochs,
        y=values,
        mode="lines",
        line=line,
        hovertemplate=f"epoch %{{x:,}}<br>{label} %{{y:.3g}}<extra>"
        f"{sweep.named(run.cell)}, seed {run.seed}</extra>",
    )


def facets(sweep: Sweep) -> list[Drawing]:
    """One small panel per cell: its runs in colour, all others grey behind them."""
    return [_facet(sweep, cell) for cell in sweep.cells]


def _facet(sweep: Sweep, cell: Cell) -> Drawing:
    figure = go.Figure(layout={"template": TEMPLATE, "height": 260, "showlegend": False})
    for run in sorted(sweep.runs, key=lambda r: r.cell == cell):  # grey first
        mine = run.cell == cell
        line = {
            "color": style_of(sweep, cell).color if mine else GREY,
            "width": 1.8 if mine else 1,
        }
        trace = _trace(sweep, run, "validation_accuracies", line)
        figure.add_trace(trace if mine else trace.update(hoverinfo="skip", hovertemplate=None))
    figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    figure.update_xaxes(title_text="epoch", tickformat=",", nticks=5)
    return Drawing(figure, capitalised(sweep.named(cell)))
