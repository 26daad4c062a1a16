"""When the runs of a sweep grokked: distribution, survival curves, scaling of the delay."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import plotly.graph_objects as go

from grokking.pictures.drawings import Drawing
from grokking.pictures.style import INK, MUTED, TEMPLATE, Style
from grokking.sweeps.axis import capitalised, value_words
from grokking.sweeps.look import (
    NEVER_GLYPH,
    NOT_YET_GLYPH,
    drawn_panels,
    marker,
    style_of,
    sweep_drawing,
)
from grokking.sweeps.records import Cell, RunRecord, Sweep
from grokking.sweeps.survival import kaplan_meier

SURVIVAL = "Share of runs that have not grokked (Kaplan-Meier)"
BOXED = 5  # runs that grokked, from which their quartiles are drawn


def distribution_figure(sweep: Sweep) -> Drawing:
    """Grok epochs per cell: every run as a point, in a box where BOXED of them grokked."""
    cells = sweep.cells
    figure = go.Figure(layout={"template": TEMPLATE, "height": 460, "showlegend": False})
    for position, (cell, runs) in enumerate(cells.items()):
        for trace in _column(position, runs, style_of(sweep, cell)):
            figure.add_trace(trace)
    figure.update_xaxes(
        title_text=sweep.name,
        tickvals=list(range(len(cells))),
        ticktext=[", ".join(map(value_words, cell)) for cell in cells],
        range=[-0.6, len(cells) - 0.4],
    )
    figure.update_yaxes(rangemode="tozero")
    title = "When each run grokked, and what else became of it"
    return sweep_drawing(sweep, figure, title, _legend(sweep), "yaxis")


def _legend(sweep: Sweep) -> str:
    """What the figure's points are, of those that it has."""
    grokked = [sum(run.grokked for run in runs) for runs in sweep.cells.values()]
    sentences = [
        "A point is a run that grokked." if any(grokked) else "No run has grokked.",
        "A box: quartiles and median of those runs." if max(grokked) >= BOXED else "",
        "An arrow is a run that had not grokked at its last epoch: its grok epoch, if it has one, lies "
        "above."
        if any(run.may_grok for run in sweep.runs)
        else "",
        "An asterisk is a run that has generalised without grokking, or diverged."
        if not all(run.grokked or run.may_grok for run in sweep.runs)
        else "",
    ]
    return " ".join(filter(None, sentences))


def _column(
    position: int, runs: Sequence[RunRecord], style: Style
) -> Iterator[go.Box | go.Scatter]:
    """The runs of one value, by what became of them."""
    places = dict(
        zip((run.directory for run in runs), _spread_out(position, len(runs)), strict=True)
    )
    grokked = [run for run in runs if run.grokked]
    if len(grokked) >= BOXED:
        yield go.Box(
            x=[position] * len(grokked),
            y=[run.grok_epoch for run in grokked],
            width=0.6,
            boxpoints=False,
            line={"color": style.color, "width": 1.5},
            fillcolor="rgba(0,0,0,0)",
            hoverinfo="skip",
        )
    never = [run for run in runs if not (run.grokked or run.may_grok)]
    large = {"size": 14, "line": {"width": 2, "color": style.color}, "color": style.color}
    for group, look in (
        (grokked, marker(style)),
        ([run for run in runs if run.may_grok], {**large, "symbol": NOT_YET_GLYPH}),
        (never, {**large, "symbol": NEVER_GLYPH}),
    ):
        if group:
            yield go.Scatter(
                x=[places[run.directory] for run in group],
                y=[decided_at(run) for run in group],
                mode="markers",
                marker=look,
                text=[f"{run.outcome_in_words}<br>seed {run.seed}" for run in group],
                hovertemplate="%{text}<extra></extra>",
            )


def decided_at(run: RunRecord) -> int:
    """The epoch at which a run is shown: where it generalised, else its last."""
    generalised = run.generalization_epoch
    return run.last_epoch if generalised is None else generalised


def _spread_out(position: int, count: int) -> list[float]:
    """Places beside each other within a box's width, so that equal epochs do not hide a run."""
    step = 0.4 / max(1, count - 1)
    return [position + step * (i - (count - 1) / 2) for i in range(count)]


def survival_figures(sweep: Sweep) -> list[Drawing]:
    """Kaplan-Meier: share of runs that have not grokked, per cell, censorings ticked; a figure per panel."""
    return [_survival(sweep, rest, cells) for rest, cells in drawn_panels(sweep).items()]


def _survival(sweep: Sweep, rest: Cell, cells: dict[Cell, list[RunRecord]]) -> Drawing:
    figure = go.Figure(layout={"template": TEMPLATE, "height": 460})
    for cell, runs in cells.items():
        style, label = style_of(sweep, cell), sweep.label(cell)
        observations = [run.followed.observation for run in runs]
        steps = [(step.time, float(step.survival)) for step in kaplan_meier(observations)]
        start, end = (1, 1.0), (max(o.time for o in observations), steps[-1][1] if steps else 1.0)
        points = [start, *steps, end]
        figure.add_scatter(
            x=[x for x, _ in points],
            y=[y for _, y in points],
            mode="lines",
            line={"shape": "hv", "color": style.color, "dash": style.dash, "width": 2.2},
            name=label,
            legendgroup=label,
            hovertemplate="epoch %{x:,}<br>%{y:.0%} not grokked<extra>"
            f"{sweep.named(cell)}</extra>",
        )
        times = [o.time for o in observations if not o.event]
        figure.add_scatter(
            x=times,
            y=[min((y for x, y in points if x <= time), default=1.0) for time in times],
            mode="markers",
            marker={"symbol": "line-ns", "size": 12, "line": {"width": 2, "color": style.color}},
            legendgroup=label,
            showlegend=False,
            hovertemplate="run ended at epoch %{x:,} without grokking<extra>"
            f"{sweep.named(cell)}</extra>",
        )
    figure.add_hline(y=0.5, line={"color": MUTED, "width": 1, "dash": "dot"})
    figure.update_yaxes(title_text="share not grokked", range=[-0.03, 1.05], tickformat=".0%")
    runs = [run for of_cell in cells.values() for run in of_cell]
    title = capitalised(sweep.panel_named(rest)) or SURVIVAL
    return sweep_drawing(sweep, figure, title, _fall(runs), "xaxis")


def _fall(runs: Sequence[RunRecord]) -> str:
    """What to look for in the curves, of what they show."""
    ticks = "Ticks: runs that ended without grokking; they count as not grokked until then only."
    if not any(run.grokked for run in runs):
        return f"No run has grokked: every curve stays at 100 %. {ticks}"
    falls = (
        "A curve that falls further left groks earlier; it crosses the dotted line at the median."
    )
    return falls if all(run.grokked for run in runs) else f"{falls} {ticks}"


def scaling_figure(sweep: Sweep, scaling: dict[str, Any]) -> Drawing:
    """Median delay against 1 / (lr * wd) on logarithmic axes, every run, and the fitted line."""
    figure = go.Figure(layout={"template": TEMPLATE, "height": 460})
    for cell, runs in sweep.cells.items():
        known = [run for run in runs if (run.delay or 0) > 0 and 0 < run.timescale < math.inf]
        figure.add_scatter(
            x=[run.timescale for run in known],
            y=[run.delay for run in known],
            mode="markers",
            marker=marker(style_of(sweep, cell)),
            name=", ".join(map(value_words, cell)),
            text=[f"seed {run.seed}" for run in known],
            hovertemplate=f"delay %{{y:,}} epochs<br>%{{text}}<extra>{sweep.named(cell)}</extra>",
        )
    x = [point["timescale"] for point in scaling["medians"]]
    y = [point["median_delay"] for point in scaling["medians"]]
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"symbol": "line-ew", "size": 26, "line": {"width": 3, "color": INK}},
        name="median",
        hovertemplate="median delay %{y:,} epochs<extra></extra>",
    )
    ends = [x[0], x[-1]]
    figure.add_scatter(
        x=ends,
        y=[math.exp(scaling["intercept"] + scaling["slope"] * math.log(end)) for end in ends],
        mode="lines",
        line={"color": MUTED, "width": 1.5},
        name=f"slope {scaling['slope']:.2f}",
        hoverinfo="skip",
    )
    figure.update_xaxes(
        type="log",
        title_text="1 / (lr x weight decay), epochs",
        tickvals=x,
        tickformat=",.0f",
    )
    ticks = [digit * 10**power for power in range(6) for digit in (1, 2, 5)]
    figure.update_yaxes(type="log", title_text="delay, epochs", tickvals=ticks, tickformat=",")
    return sweep_drawing(
        sweep,
        figure,
        "Does the delay scale as 1 / (learning rate x weight decay)?",
        "On these axes a slope of 1 is exact proportion. Bars: Kaplan-Meier median of each "
        "value. Runs that did not generalise, or not after memorising, are no points, but count in the "
        "medians.",
    )
