"""A figure with the words and buttons around it, which a page sets as HTML: there they wrap on a
phone and answer to the keyboard. Plotly draws the rest."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

EITHER_AXIS: Mapping[str, str | None] = {"linear": None, "log": None}


class Button(NamedTuple):
    """What a press changes, as plotly's `update` takes it, and the sentence if there is a new one."""

    label: str
    traces: Mapping[str, Any]
    layout: Mapping[str, Any]
    look_for: str | None = None


class Buttons(NamedTuple):
    """Of which one is pressed, at first the first one; `of` says what is chosen."""

    of: str
    buttons: Sequence[Button]


class Drawing(NamedTuple):
    """A figure under its title and a sentence that says what to look for.

    A figure without `layout.height` is drawn square, as far as the page allows.
    """

    figure: go.Figure
    title: str = ""
    look_for: str = ""
    buttons: Buttons | None = None


def epoch_buttons(
    *axes: str, kinds: Mapping[str, str | None] = EITHER_AXIS, decades: bool = False
) -> Buttons:
    """Buttons for the kinds of axis, each with its sentence, of "xaxis", "yaxis" and so on.

    `decades`: a logarithmic axis is labelled at powers of ten only.
    """
    return Buttons(
        "epoch axis",
        [
            Button(
                f"{kind.title()} epochs",
                {},
                {
                    f"{axis}.{key}": value
                    for axis in axes
                    for key, value in epoch_axis(kind, decades).items()
                },
                look_for,
            )
            for kind, look_for in kinds.items()
        ],
    )


def epoch_axis(kind: str, decades: bool = False) -> dict[str, Any]:
    """The part of an axis that depends on its kind."""
    return {"type": kind, "dtick": 1 if decades and kind == "log" else None, "autorange": True}
