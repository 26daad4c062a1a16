"""Curves of a sweep's runs over the epochs: all in one figure, or one panel per value of the axis."""

from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from grokking.detection import THRESHOLD
from grokking.pictures.drawings import Drawing
from grokking.pictures.style import GREY, MUTED, TEMPLATE
from grokking.pictures.thinning import thinned
from grokking.sweeps.look import marker, styles, sweep_drawing
from grokking.sweeps.records import RunRecord, Sweep
from grokking.sweeps.survival import median_time

QUANTITIES = {  # history series -> axis title, jump that is always drawn
    "validation_accuracies": ("validation accuracy", 0.005),
    "validation_losses": ("validation loss", 0.02),
}


def accuracy_figure(sweep: Sweep) -> Drawing:
    """Validation accuracy of every run over the epochs, grok epochs marked."""
    figure = _curves(sweep, "validation_accuracies")
    for value, runs in sweep.groups().items():
        grokked = [run for run in runs if run.grok_epoch is not None]
        figure.add_scatter(
            x=[run.grok_epoch for run in grokked],
            y=[THRESHOLD] * len(grokked),
            mode="markers",
            marker=marker(styles(sweep)[value]),
            legendgroup=str(value),
            showlegend=False,
            text=[f"seed {run.seed}" for run in grokked],
            hovertemplate="grokked at epoch %{x:,}<br>%{text}<extra>"
            f"{sweep.axis.named(value)}</extra>",
        )
    figure.add_hline(y=THRESHOLD, line={"color": MUTED, "width": 1, "dash": "dot"})
    figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    return sweep_drawing(sweep, figure, "Validation accuracy of every run", _jump(sweep), "xaxis")


def _jump(sweep: Sweep) -> str:
    """What to look for in the accuracies, of what these runs show."""
    grokked = sum(run.grokked for run in sweep.runs)
    if grokked == 0:
        return f"Each line is one run. None of {len(sweep.runs)} has grokked."
    further_left = f" The more {sweep.axis.name}, the further left." if _is_in_order(sweep) else ""
    return (
        f"Each line is one run. Look for the jump: {grokked} of {len(sweep.runs)} grokked.{further_left} "
        f"Markers: where the run crossed {THRESHOLD:.0%} for good."
    )


def _is_in_order(sweep: Sweep) -> bool:
    """Does every value, of two or more, have an earlier median grok epoch than the one below?"""
    medians = [
        median_time([run.followed.observation for run in runs]) for runs in sweep.groups().values()
    ]
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
    figure = _curves(sweep, "validation_losses")
    figure.update_yaxes(type="log", dtick=1, exponentformat="power")
    return sweep_drawing(sweep, figure, "Validation loss of every run", _climb(sweep), "xaxis")


def _curves(sweep: Sweep, series: str) -> go.Figure:
    figure = go.Figure(layout={"template": TEMPLATE, "height": 460})
    for value, runs in sweep.groups().items():
        for number, run in enumerate(runs):
            style = styles(sweep)[value]
            line = {"color": style.color, "dash": style.dash, "width": 1.6}
            trace = _trace(sweep, run, series, line)
            trace.update(
                name=str(value),
                legendgroup=str(value),
                showlegend=number == 0,
            )
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
        f"{sweep.axis.named(sweep.value(run))}, seed {run.seed}</extra>",
    )


def facets(sweep: Sweep) -> list[Drawing]:
    """One small panel per value of the axis: its runs in colour, all others grey behind them."""
    return [_facet(sweep, value) for value in sweep.groups()]


def _facet(sweep: Sweep, value: float) -> Drawing:
    figure = go.Figure(layout={"template": TEMPLATE, "height": 260, "showlegend": False})
    for run in sorted(sweep.runs, key=lambda r: sweep.value(r) == value):  # grey first
        mine = sweep.value(run) == value
        line = {
            "color": styles(sweep)[value].color if mine else GREY,
            "width": 1.8 if mine else 1,
        }
        trace = _trace(sweep, run, "validation_accuracies", line)
        figure.add_trace(trace if mine else trace.update(hoverinfo="skip", hovertemplate=None))
    figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    figure.update_xaxes(title_text="epoch", tickformat=",", nticks=5)
    return Drawing(figure, sweep.axis.named(value).capitalize())
