"""Activation surfaces -> drawings: pure functions, without torch and without files."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from grokking.analysis.scenes import Bytes
from grokking.files.surfaces import Surface
from grokking.fourier import Array
from grokking.pictures.drawings import Button, Buttons, Drawing
from grokking.pictures.style import SEQUENTIAL, TEMPLATE
from grokking.pictures.surface_views import Order, View, block_in_words, drawn, surface_title, views
from grokking.pictures.thinning import tick_places

LIGHTING = {"ambient": 0.65, "diffuse": 0.6, "specular": 0.1, "roughness": 0.8}
SURFACE_LOOK: dict[str, Any] = {
    "hovertemplate": "x = %{customdata[0]}<br>y = %{customdata[1]}<br>"
    "activation %{z:.4g}<extra></extra>",
    "colorscale": SEQUENTIAL,
    "colorbar": {
        "title": {"text": "activation", "side": "right"},
        "orientation": "h",
        "thickness": 10,
        "len": 0.5,
        "nticks": 4,
        "y": 0,
        "yanchor": "bottom",
    },
}


def surface_figure(surface: Surface, waves_first: bool = False) -> Drawing:
    """The surface in 3-D with a button for each order, natural order first unless told otherwise."""
    choices = views(surface)[:: -1 if waves_first else 1]
    traces = [
        {
            "z": _heights(surface, view.order),
            "customdata": _operands(view.order).swapaxes(
                0, 1
            ),  # plotly reads a surface's as [x][y]
            "visible": view is choices[0],
        }
        for view in choices
    ]
    figure = _in_3d(traces, *_range(surface), _axes(choices[0].order))
    buttons = _order_buttons(choices) if len(choices) > 1 else None
    return Drawing(figure, surface_title(surface), choices[0].look_for, buttons)


def empty_surface_figure() -> go.Figure:
    """The same for a surface whose heights static/surface.js fills in."""
    return _in_3d([{}], 0.0, 1.0, {})


def script_order(order: Order | None) -> dict[str, Any] | None:
    """An order as static/surface.js takes it; None: there is none."""
    if order is None:
        return None
    shown = drawn(order)
    return {
        "first": shown.first.tolist(),
        "second": shown.second.tolist(),
        "axes": _scene_axes(shown),
    }


def script_heights(heights: Bytes) -> str:
    """Heights as static/surface.js takes them: base64."""
    return base64.b64encode(np.ascontiguousarray(heights).tobytes()).decode("ascii")


def script_holes(holes: NDArray[np.bool_] | None) -> str:
    """Where there is no question, as static/surface.js takes it; empty: nowhere."""
    return "" if holes is None else script_heights(holes.astype(np.uint8))


def _in_3d(
    traces: Sequence[Mapping[str, Any]], low: float, high: float, axes: Mapping[str, Any]
) -> go.Figure:
    """Flat enough for ridges to read as ridges, seen from above the near corner."""
    shaded = {"cmin": low, "cmax": high, "lighting": LIGHTING}
    surfaces = [go.Surface(**SURFACE_LOOK, **trace, **shaded) for trace in traces]
    scene = {
        **axes,
        "zaxis": {
            "title": {"text": ""},
            "showticklabels": False,  # the colour bar says them
            "range": [low - 0.02 * (high - low), high],
        },
        "aspectmode": "manual",
        "aspectratio": {"x": 1.5, "y": 1.5, "z": 0.28},
        "camera": {"eye": {"x": 1.43, "y": -1.68, "z": 1.3}, "center": {"z": -0.18}},
        "domain": {"y": [0.09, 1]},
    }
    margin = {"l": 0, "r": 0, "t": 0, "b": 0}
    return go.Figure(surfaces, {"template": TEMPLATE, "margin": margin, "scene": scene})


def wave_heatmap(surface: Surface) -> Drawing:
    """The surface from above in wave order, where there is one, titled with its frequency."""
    wave_in_words, wave = block_in_words(surface), surface.wave
    if wave is not None:
        wave_in_words += f", {wave.share:.1%}"
    drawing = heatmap_figure(surface, views(surface)[-1])
    return drawing._replace(title=f"Neuron {surface.neuron_index}: {wave_in_words}")


def heatmap_figure(surface: Surface, view: View) -> Drawing:
    """The surface from above in one order, first operand to the right, second upwards."""
    axes = _axes(view.order)
    low, high = _range(surface)
    heatmap = go.Heatmap(
        **SURFACE_LOOK,
        z=_heights(surface, view.order),
        customdata=_operands(view.order),
        zmin=low,
        zmax=high,
        showscale=False,
    )
    layout = {
        "template": TEMPLATE,
        "margin": {"l": 8, "r": 8, "t": 32, "b": 8},  # plotly's tools stand in the top margin
        "xaxis": {**axes["xaxis"], "constrain": "domain", "tickangle": 0},
        "yaxis": {**axes["yaxis"], "scaleanchor": "x", "constrain": "domain"},
    }
    return Drawing(go.Figure(heatmap, layout), view.name, view.caption)


def combined_figures(surface: Surface) -> list[Drawing]:
    """The 3-D surface, and beside it a heatmap of each order."""
    heatmaps = [heatmap_figure(surface, view) for view in views(surface)]
    return [surface_figure(surface), *heatmaps]


def _heights(surface: Surface, order: Order) -> NDArray[np.floating[Any]]:
    """Activations as plotly wants them, [y][x], in one order; NaN draws a gap."""
    return _single(surface.values[np.ix_(order.first, order.second)].T)


def _operands(order: Order) -> NDArray[np.int64]:
    """The true operands (x, y) of every cell for the hover text, int64 [y][x][2]."""
    return np.stack(np.meshgrid(order.first, order.second), axis=-1)


def _single(values: Array) -> NDArray[np.floating[Any]]:
    """Half the bytes for the same picture: float32, where its range is enough."""
    peak = np.nanmax(np.abs(values), initial=0)
    return values.astype(np.float32) if 1e-30 < peak < 1e30 else values


def _range(surface: Surface) -> tuple[float, float]:
    """From 0 (activations are rectified) to the peak; a dead neuron lies on the floor."""
    low, high = min(0.0, float(np.nanmin(surface.values))), float(np.nanmax(surface.values))
    return low, high if high > low else low + 1.0


def _axes(order: Order) -> dict[str, Any]:
    """Positions on both axes, labelled with the operands that stand there."""
    axes = {}
    for name, operands in zip("xy", order, strict=True):
        places = list(tick_places(len(operands)))
        ticks = {"tickvals": places, "ticktext": [str(operands[place]) for place in places]}
        axes[f"{name}axis"] = {"title": {"text": name}, **ticks}
    return axes


def _scene_axes(order: Order) -> dict[str, Any]:
    """The same as a change to the layout of a 3-D figure."""
    axes = _axes(order).items()
    return {f"scene.{name}.{key}": value for name, axis in axes for key, value in axis.items()}


def _order_buttons(choices: Sequence[View]) -> Buttons:
    buttons = [
        Button(
            view.name,
            {"visible": [other is view for other in choices]},
            _scene_axes(view.order),
            view.look_for,
        )
        for view in choices
    ]
    return Buttons("order of the operands", buttons)
