"""How every picture looks: colours, dashes, markers, and the plotly template.

Colours are Okabe and Ito's ("Color Universal Design", 2008): distinct for
colour-blind readers. No picture relies on colour alone.
"""

from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import Any, NamedTuple, TypeVar

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.colors import get_colorscale, sample_colorscale, unlabel_rgb

BLACK, ORANGE, SKY_BLUE, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

INK, MUTED, GREY, FAINT = "#1c2430", "#5b6675", "#c9ced6", "#e3e7ec"
PAGE_COLORS = {  # the variables of static/*.css
    "ink": INK,
    "muted": MUTED,
    "grey": GREY,
    "faint": FAINT,
    "accent": BLUE,
    "focus": SKY_BLUE,
    "chosen": "#e6f1f8",
}
FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"
SEQUENTIAL = "Viridis"  # for sequences from little to much


def shades() -> list[str]:
    """256 colours of SEQUENTIAL as #rrggbb, from little to much."""
    return sampled([i / 255 for i in range(256)])


def sampled(places: Sequence[float]) -> list[str]:
    """Colours of SEQUENTIAL at places from 0 to 1, as #rrggbb."""
    colors = sample_colorscale(get_colorscale(SEQUENTIAL), list(places))
    return ["#" + "".join(f"{round(part):02x}" for part in unlabel_rgb(color)) for color in colors]


class Style(NamedTuple):
    """One line's look: a colour and two further cues."""

    color: str
    dash: str
    symbol: str


TRAINING = Style(BLUE, "dot", "circle")
VALIDATION = Style(VERMILLION, "solid", "square")

OTHER_ARM = "#9aa3af"  # of the run beside its branch, which has the colours

Named = tuple[str, Style]
S = TypeVar("S")
V = TypeVar("V")


def parts(has_split: bool, both: Sequence[S]) -> list[tuple[Named, S]]:
    """Name and look of what is known of the training and of the other pairs, each with its own of `both`.

    Without a split only the latter is there, and it is of all pairs.
    """
    if not has_split:
        return [(("all pairs", VALIDATION), both[1])]
    return [(("training", TRAINING), both[0]), (("validation", VALIDATION), both[1])]


_WEIGHT_DECAYS: dict[Any, Style] = {
    0.0: Style(BLACK, "longdashdot", "cross"),
    0.1: Style(PURPLE, "dashdot", "x"),
    0.3: Style(SKY_BLUE, "longdash", "triangle-down"),
    0.5: Style(ORANGE, "dot", "diamond"),
    1.0: Style(BLUE, "solid", "circle"),
    2.0: Style(VERMILLION, "dash", "square"),
    3.0: Style(GREEN, "longdash", "triangle-up"),
}


def value_styles(values: Iterable[V]) -> dict[V, Style]:
    """One style per value of a sweep's axis, in their order.

    The usual values of weight decay always look the same; others take the looks that are left. More values
    than there are looks go through the colours of SEQUENTIAL, with dashes and markers in turn.
    """
    wanted = list(dict.fromkeys(values))
    if len(wanted) > len(_WEIGHT_DECAYS):
        places = [0.9 * place / (len(wanted) - 1) for place in range(len(wanted))]
        cues = cycle(_WEIGHT_DECAYS.values())
        return {
            value: Style(color, cue.dash, cue.symbol)
            for value, color, cue in zip(wanted, sampled(places), cues, strict=False)
        }
    styles = {value: _WEIGHT_DECAYS[value] for value in wanted if value in _WEIGHT_DECAYS}
    free = [style for style in _WEIGHT_DECAYS.values() if style not in styles.values()]
    looks = iter(free)
    return {value: styles.get(value) or next(looks) for value in wanted}


def _axis(**extra: object) -> dict[str, object]:
    return {"gridcolor": FAINT, "linecolor": MUTED, "zeroline": False, "automargin": True} | extra


def _template() -> go.layout.Template:
    scene_axis = {
        "backgroundcolor": "#f6f8fa",
        "gridcolor": GREY,
        "showbackground": True,
        "zeroline": False,
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 13, "color": INK},
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "colorway": [BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY_BLUE, BLACK],
            "hoverlabel": {"font": {"family": FONT, "size": 13}, "align": "left"},
            "hovermode": "closest",
            "legend": {"bgcolor": "rgba(255,255,255,0.8)"},
            "margin": {"l": 56, "r": 16, "t": 24, "b": 48},
            "xaxis": _axis(ticks="outside"),
            "yaxis": _axis(),
            "scene": dict.fromkeys(("xaxis", "yaxis", "zaxis"), scene_axis),
        }
    )


TEMPLATE = _template()


def curve(
    name: str,
    style: Style,
    epochs: Sequence[int] | NDArray[np.int64],
    series: Sequence[float | None],
    hover: str,
    legend: bool = True,
) -> go.Scatter:
    """A quantity over epochs, its value on hovering as in `%{y:.3g}`; None leaves a gap."""
    return go.Scatter(
        x=epochs,
        y=np.array(series, dtype=np.float64),
        name=name,
        legendgroup=name,
        showlegend=legend,
        mode="lines" if len(epochs) > 1 else "markers",
        line={"color": style.color, "dash": style.dash, "width": 2},
        hovertemplate=f"epoch %{{x:,}}<br>{name} {hover}<extra></extra>",
    )


def epoch_lines(marks: Iterable[tuple[str, int | None, str, str, str]]) -> list[dict[str, Any]]:
    """Dashed lines through both panels, on axes "x" and "x2", at the epochs that were reached.

    A mark: its name, its epoch, the axis of the panel that names it, and the name's xanchor and
    textposition.
    """
    return [
        _epoch_line(epoch, axis, name if axis == home else "", anchor, position)
        for name, epoch, home, anchor, position in marks
        if epoch is not None
        for axis in ("x", "x2")
    ]


def _epoch_line(epoch: int, axis: str, text: str, anchor: str, position: str) -> dict[str, Any]:
    return {
        "type": "line",
        "xref": axis,
        "yref": f"{axis.replace('x', 'y')} domain",
        "x0": epoch,
        "x1": epoch,
        "y0": 0,
        "y1": 1,
        "line": {"color": MUTED, "width": 1.5, "dash": "dash"},
        "label": {
            "text": text,
            "textposition": position,
            "textangle": 0,
            "xanchor": anchor,
            "yanchor": "bottom",
            "font": {"color": INK, "size": 12},
        },
    }
