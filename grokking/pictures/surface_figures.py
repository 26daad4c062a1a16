"""Activation surfaces -> plotly figures: pure functions, without torch and without files."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from grokking.analysis.fourier import Array, Permutation, Wave, strongest_wave
from grokking.analysis.scenes import Bytes
from grokking.artifacts import Surface
from grokking.pictures.drawings import Button, Buttons, Drawing
from grokking.pictures.style import SEQUENTIAL, TEMPLATE
from grokking.pictures.surface_views import View, surface_title, views

_TICKS = 6  # labelled operands on an axis, about

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
    wave = strongest_wave(surface.values)
    choices = views(surface, wave)[:: -1 if waves_first else 1]
    low, high = _range(surface)
    figure = go.Figure()
    for view in choices:
        figure.add_surface(
            **_grid(surface, view),
            customdata=_operands(view).swapaxes(0, 1),  # plotly reads a surface's as [x][y]
            cmin=low,
            cmax=high,
            visible=view is choices[0],
            lighting=LIGHTING,
        )
    figure.update_layout(**scene_layout(low, high, _axes(choices[0])))
    buttons = _order_buttons(choices) if len(choices) > 1 else None
    return Drawing(figure, surface_title(surface, wave), choices[0].look_for, buttons)


def empty_surface_figure() -> go.Figure:
    """The same look for a surface whose heights the page's own script fills in."""
    figure = go.Figure()
    figure.add_surface(**SURFACE_LOOK, lighting=LIGHTING, cmin=0, cmax=1)
    figure.update_layout(**scene_layout(0.0, 1.0, {"xaxis": {}, "yaxis": {}}))
    return figure


def text_of(heights: Bytes) -> str:
    """Heights as static/surface.js takes them: base64."""
    return base64.b64encode(np.ascontiguousarray(heights).tobytes()).decode("ascii")


def scene_layout(low: float, high: float, axes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Flat enough for ridges to read as ridges, seen from above the near corner."""
    return {
        "template": TEMPLATE,
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        "scene": {
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
        },
    }


def wave_heatmap(surface: Surface, wave: Wave | None) -> Drawing:
    """The surface from above in wave order, where there is one, titled with its frequency."""
    drawing = heatmap_figure(surface, views(surface, wave)[-1])
    told = "no wave" if wave is None else f"frequency {wave.frequency}, {wave.share:.1%}"
    return drawing._replace(title=f"Neuron {surface.neuron_index}: {told}")


def heatmap_figure(surface: Surface, view: View) -> Drawing:
    """The surface from above in one order, first operand to the right, second upwards."""
    axes = _axes(view)
    low, high = _range(surface)
    figure = go.Figure()
    figure.add_heatmap(
        **_grid(surface, view),
        customdata=_operands(view),
        zmin=low,
        zmax=high,
        showscale=False,
    )
    figure.update_layout(
        template=TEMPLATE,
        margin={"l": 8, "r": 8, "t": 32, "b": 8},  # plotly's tools stand in the top margin
        xaxis={**axes["xaxis"], "constrain": "domain", "tickangle": 0},
        yaxis={**axes["yaxis"], "scaleanchor": "x", "constrain": "domain"},
    )
    return Drawing(figure, view.name, view.caption)


def combined_figures(surface: Surface) -> list[Drawing]:
    """The 3-D surface, and beside it a heatmap of each order."""
    choices = views(surface, strongest_wave(surface.values))
    return [surface_figure(surface), *(heatmap_figure(surface, view) for view in choices)]


def _grid(surface: Surface, view: View) -> dict[str, Any]:
    """Activations as [y][x], as plotly wants them, in one order."""
    return {
        "z": _single(surface.values[np.ix_(view.order, view.order)].T),
        **SURFACE_LOOK,
    }


def _operands(view: View) -> Permutation:
    """The true operands (x, y) of every cell for the hover text, int64 [y][x][2]."""
    return np.stack(np.meshgrid(view.order, view.order), axis=-1)


def _single(values: Array) -> NDArray[np.floating[Any]]:
    """Half the bytes for the same picture: float32, where its range is enough."""
    peak = np.abs(values).max()
    return values.astype(np.float32) if 1e-30 < peak < 1e30 else values


def _range(surface: Surface) -> tuple[float, float]:
    """From 0 (activations are rectified) to the peak; a dead neuron lies on the floor."""
    low, high = min(0.0, float(surface.values.min())), float(surface.values.max())
    return low, high if high > low else low + 1.0


def _axes(view: View) -> dict[str, Any]:
    """Positions on both axes, labelled with the operands that stand there."""
    positions = np.arange(0, len(view.order), max(1, len(view.order) // _TICKS))
    ticks = {
        "tickvals": positions.tolist(),
        "ticktext": [str(operand) for operand in view.order[positions]],
    }
    return {
        "xaxis": {"title": {"text": "x"}, **ticks},
        "yaxis": {"title": {"text": "y"}, **ticks},
    }


def _order_buttons(choices: Sequence[View]) -> Buttons:
    buttons = []
    for view in choices:
        shown = {"visible": [other is view for other in choices]}
        axes = {
            f"scene.{name}.{key}": value
            for name, axis in _axes(view).items()
            for key, value in axis.items()
        }
        buttons.append(Button(view.name, shown, axes, view.look_for))
    return Buttons("order of the operands", buttons)
