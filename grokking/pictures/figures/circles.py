"""Embeddings along the key frequencies -> drawings: pure functions, without torch or files."""

import numpy as np
import plotly.graph_objects as go

from grokking.analysis.scenes import Circle
from grokking.fourier import wave_order
from grokking.pictures.drawings import Drawing
from grokking.pictures.style import BLUE, MUTED, TEMPLATE


def circle_figure(circle: Circle) -> Drawing:
    """Every operand at its projection on cos and sin of one frequency, joined in order of phase."""
    p = len(circle.points)
    order = wave_order(p, circle.frequency, 1)  # neighbours differ by one step of phase
    listed = np.arange(p) if order is None else order
    closed = np.append(listed, listed[0])
    circuit = go.Scatter(
        x=circle.points[closed, 0],
        y=circle.points[closed, 1],
        mode="lines+markers",
        line={"color": MUTED, "width": 1},
        marker={"color": BLUE, "size": 5},
        customdata=closed,
        hovertemplate="operand %{customdata}<extra></extra>",
        showlegend=False,
    )
    arrows = [
        {
            **dict(zip("xy", circle.points[operand].tolist(), strict=True)),
            "text": str(operand),
            "arrowcolor": MUTED,
            "arrowwidth": 1,
        }
        for operand in (0, 1)
    ]
    layout = {
        "template": TEMPLATE,
        "annotations": arrows,
        "margin": {"l": 8, "r": 8, "t": 32, "b": 8},
        "xaxis": {"title": {"text": "along cos"}, "constrain": "domain"},
        "yaxis": {"title": {"text": "along sin"}, "scaleanchor": "x", "constrain": "domain"},
    }
    step = "counted" if order is None else f"{order[1]} apart"
    look_for = (
        f"{circle.share:.1%} of the embedding's variance; off the hours by {circle.roughness:.0%} of "
        f"the radius. Neighbours on the line are operands {step}."
    )
    return Drawing(go.Figure(circuit, layout), f"Frequency {circle.frequency}", look_for)
