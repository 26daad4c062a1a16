"""A sweep's runs -> plotly figures. One colour, dash and marker per weight decay in all of them."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import plotly.graph_objects as go

from grokking.detection import THRESHOLD
from grokking.style import INK, MUTED, TEMPLATE, Style, weight_decay_styles
from grokking.survival import kaplan_meier
from grokking.sweep_folder import RunRecord, Sweep
from grokking.sweep_thinning import thinned

GREY = "#c9ced6"
MEASURES = {  # history series -> axis title, jump that is always drawn
    "validation_accuracies": ("validation accuracy", 0.005),
    "validation_losses": ("validation loss", 0.02),
    "training_losses": ("training loss", 0.02),
}
Point = tuple[float, float | None]


def styles(sweep: Sweep) -> dict[float, Style]:
    return weight_decay_styles(sweep.by_weight_decay())


def accuracy_figure(sweep: Sweep) -> go.Figure:
    """Validation accuracy of every run over the epochs, grok epochs marked."""
    figure = _curves(sweep, "validation_accuracies")
    for weight_decay, runs in sweep.by_weight_decay().items():
        grokked = [run for run in runs if run.grok_epoch is not None]
        figure.add_scatter(
            x=[run.grok_epoch for run in grokked],
            y=[THRESHOLD] * len(grokked),
            mode="markers",
            marker=_marker(styles(sweep)[weight_decay]),
            legendgroup=str(weight_decay),
            showlegend=False,
            text=[f"seed {run.seed}" for run in grokked],
            hovertemplate="grokked at epoch %{x:,}<br>%{text}<extra>"
            f"weight decay {weight_decay}</extra>",
        )
    figure.add_hline(y=THRESHOLD, line={"color": MUTED, "width": 1, "dash": "dot"})
    figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    return _titled(
        figure,
        "Validation accuracy of every run",
        "Each line is one run. Look for the jump from chance to 100 %: the more weight decay, the "
        "further left. Markers: where the run crossed 90 % for good.",
    )


def loss_figure(sweep: Sweep) -> go.Figure:
    """Validation loss of every run on a logarithmic axis."""
    figure = _curves(sweep, "validation_losses")
    figure.update_yaxes(type="log", dtick=1, exponentformat="power")
    return _titled(
        figure,
        "Validation loss of every run",
        "While a run only memorises, its validation loss climbs above that of guessing; it falls "
        "by orders of magnitude when the run groks.",
    )


def _curves(sweep: Sweep, series: str) -> go.Figure:
    figure = go.Figure(layout={"template": TEMPLATE, "height": 460})
    for weight_decay, runs in sweep.by_weight_decay().items():
        for number, run in enumerate(runs):
            style = styles(sweep)[weight_decay]
            line = {"color": style.color, "dash": style.dash, "width": 1.6}
            trace = _trace(sweep, run, series, line)
            trace.update(
                name=str(weight_decay),
                legendgroup=str(weight_decay),
                showlegend=number == 0,
            )
            figure.add_trace(trace)
    figure.update_yaxes(title_text=MEASURES[series][0])
    return _with_epoch_axis(figure)


def _trace(sweep: Sweep, run: RunRecord, series: str, line: dict[str, Any]) -> go.Scatter:
    history = sweep.histories[run.directory]
    label, jump = MEASURES[series]
    logarithmic = series.endswith("losses")
    epochs, values = thinned(history.epochs, getattr(history, series), jump, logarithmic)
    return go.Scatter(
        x=epochs,
        y=values,
        mode="lines",
        line=line,
        hovertemplate=f"epoch %{{x:,}}<br>{label} %{{y:.3g}}<extra>weight decay "
        f"{run.weight_decay}, seed {run.seed}</extra>",
    )


def facets(sweep: Sweep) -> list[go.Figure]:
    """One small panel per weight decay: its runs in colour, all others grey behind them."""
    return [_facet(sweep, weight_decay) for weight_decay in sweep.by_weight_decay()]


def _facet(sweep: Sweep, weight_decay: float) -> go.Figure:
    figure = go.Figure(layout={"template": TEMPLATE, "height": 260, "showlegend": False})
    for run in sorted(sweep.runs, key=lambda r: r.weight_decay == weight_decay):  # grey first
        mine = run.weight_decay == weight_decay
        line = {
            "color": styles(sweep)[weight_decay].color if mine else GREY,
            "width": 1.8 if mine else 1,
        }
        trace = _trace(sweep, run, "validation_accuracies", line)
        figure.add_trace(trace if mine else trace.update(hoverinfo="skip", hovertemplate=None))
    figure.update_yaxes(range=[-0.02, 1.02], tickformat=".0%")
    figure.update_xaxes(title_text="epoch", tickformat=",", nticks=5)
    return figure.update_layout(title_text=f"Weight decay {weight_decay}")


def distribution_figure(sweep: Sweep) -> go.Figure:
    """Box of the grok epochs per weight decay, every run as a point, censored ones as triangles."""
    groups = sweep.by_weight_decay()
    figure = go.Figure(layout={"template": TEMPLATE, "height": 460, "showlegend": False})
    for position, (weight_decay, runs) in enumerate(groups.items()):
        for trace in _box(position, runs, styles(sweep)[weight_decay]):
            figure.add_trace(trace)
    figure.update_xaxes(
        title_text="weight decay",
        tickvals=list(range(len(groups))),
        ticktext=[str(weight_decay) for weight_decay in groups],
        range=[-0.6, len(groups) - 0.4],
    )
    figure.update_yaxes(title_text="grok epoch", tickformat=",", rangemode="tozero")
    figure.update_layout(updatemenus=[_axis_buttons("yaxis")])
    return _titled(
        figure,
        "When each run grokked",
        "Boxes: the runs that grokked, quartiles and median. An open triangle is a run that had not "
        "grokked at its last epoch: its grok epoch lies above the triangle, so the box is too low.",
    )


def _box(position: int, runs: Sequence[RunRecord], style: Style) -> Iterator[go.Box | go.Scatter]:
    places = dict(
        zip((run.directory for run in runs), _spread_out(position, len(runs)), strict=True)
    )
    grokked = [run for run in runs if run.grok_epoch is not None]
    censored = [run for run in runs if run.grok_epoch is None]
    if grokked:
        yield go.Box(
            x=[position] * len(grokked),
            y=[run.grok_epoch for run in grokked],
            width=0.6,
            boxpoints=False,
            line={"color": style.color, "width": 1.5},
            fillcolor="rgba(0,0,0,0)",
            hoverinfo="skip",
        )
        yield go.Scatter(
            x=[places[run.directory] for run in grokked],
            y=[run.grok_epoch for run in grokked],
            mode="markers",
            marker=_marker(style),
            text=[f"seed {run.seed}" for run in grokked],
            hovertemplate="grokked at epoch %{y:,}<br>%{text}<extra></extra>",
        )
    if censored:
        yield go.Scatter(
            x=[places[run.directory] for run in censored],
            y=[run.last_epoch for run in censored],
            mode="markers",
            marker={
                "symbol": "triangle-up-open",
                "size": 14,
                "line": {"width": 2},
                "color": style.color,
            },
            text=[f"seed {run.seed}" for run in censored],
            hovertemplate="not grokked by epoch %{y:,}<br>%{text}<extra></extra>",
        )


def _spread_out(position: int, count: int) -> list[float]:
    """Places beside each other within a box's width, so that equal epochs do not hide a run."""
    step = 0.4 / max(1, count - 1)
    return [position + step * (i - (count - 1) / 2) for i in range(count)]


def survival_figure(sweep: Sweep) -> go.Figure:
    """Kaplan-Meier: share of runs that have not grokked, per weight decay, censorings ticked."""
    figure = go.Figure(layout={"template": TEMPLATE, "height": 460})
    for weight_decay, runs in sweep.by_weight_decay().items():
        style = styles(sweep)[weight_decay]
        observations = [run.followed.observation for run in runs]
        steps = [(step.time, float(step.survival)) for step in kaplan_meier(observations)]
        start, end = (1, 1.0), (max(o.time for o in observations), steps[-1][1] if steps else 1.0)
        points = [start, *steps, end]
        figure.add_scatter(
            x=[x for x, _ in points],
            y=[y for _, y in points],
            mode="lines",
            line={"shape": "hv", "color": style.color, "dash": style.dash, "width": 2.2},
            name=str(weight_decay),
            legendgroup=str(weight_decay),
            hovertemplate="epoch %{x:,}<br>%{y:.0%} not grokked<extra>"
            f"weight decay {weight_decay}</extra>",
        )
        times = [o.time for o in observations if not o.event]
        figure.add_scatter(
            x=times,
            y=[min(y for x, y in points if x <= time) for time in times],
            mode="markers",
            marker={"symbol": "line-ns", "size": 12, "line": {"width": 2, "color": style.color}},
            legendgroup=str(weight_decay),
            showlegend=False,
            hovertemplate="run ended at epoch %{x:,} without grokking<extra>"
            f"weight decay {weight_decay}</extra>",
        )
    figure.add_hline(y=0.5, line={"color": MUTED, "width": 1, "dash": "dot"})
    figure.update_yaxes(title_text="share not grokked", range=[-0.03, 1.05], tickformat=".0%")
    return _titled(
        _with_epoch_axis(figure),
        "Share of runs that have not grokked (Kaplan-Meier)",
        "A curve that falls further left groks earlier; it crosses the dotted line at the median. "
        "Ticks: runs that ended without grokking; they count as not grokked until then only.",
    )


def scaling_figure(sweep: Sweep, scaling: dict[str, Any]) -> go.Figure:
    """Median delay against 1 / (lr * wd) on logarithmic axes, every run, and the fitted line."""
    figure = go.Figure(layout={"template": TEMPLATE, "height": 460})
    for weight_decay, runs in sweep.by_weight_decay().items():
        known = [
            run for run in runs if run.delay is not None and weight_decay * run.learning_rate > 0
        ]
        figure.add_scatter(
            x=[1 / (run.learning_rate * run.weight_decay) for run in known],
            y=[run.delay for run in known],
            mode="markers",
            marker=_marker(styles(sweep)[weight_decay]),
            name=str(weight_decay),
            text=[f"seed {run.seed}" for run in known],
            hovertemplate="delay %{y:,} epochs<br>%{text}<extra>"
            f"weight decay {weight_decay}</extra>",
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
    factor = math.exp(scaling["intercept"])
    figure.add_scatter(
        x=ends,
        y=[factor * end ** scaling["slope"] for end in ends],
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
    return _titled(
        figure,
        "Does the delay scale as 1 / (learning rate x weight decay)?",
        "On these axes a slope of 1 is exact proportion. Bars: Kaplan-Meier median of each weight "
        "decay. Runs that did not generalise are no points, but count in the medians.",
    )


def _marker(style: Style) -> dict[str, Any]:
    return {
        "color": style.color,
        "symbol": style.symbol,
        "size": 10,
        "line": {"color": "white", "width": 1},
    }


def _with_epoch_axis(figure: go.Figure) -> go.Figure:
    figure.update_xaxes(title_text="epoch", tickformat=",", nticks=6)
    return figure.update_layout(updatemenus=[_axis_buttons("xaxis")], margin_r=32)


def _axis_buttons(axis: str) -> dict[str, Any]:
    buttons = [
        {
            "label": f"{name} epochs",
            "method": "relayout",
            "args": [{f"{axis}.type": kind, f"{axis}.autorange": True}],
        }
        for name, kind in (("Linear", "linear"), ("Log", "log"))
    ]
    return {"type": "buttons", "name": "epoch axis", "buttons": buttons}


def _titled(figure: go.Figure, title: str, look_for: str) -> go.Figure:
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
