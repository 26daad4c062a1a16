"""Embeddings along the key frequencies -> drawings: pure functions, without torch or files."""

import numpy as np
import plotly.graph_objects as go

from grokking.analysis.scenes import Circle
from grokking.fourier import wave_order
from grokking.pictures.drawings import Drawing
from grokking.pictures.style import BLUE, MUTED, TEMPLATE


def circle_figure(circle: Circle) -> Drawing:
    """Every operand at its projection on cos and sin of one frequency, joined in order of phase."""
    n = len(circle.points)
    order = wave_order(n, circle.frequency, 1)  # neighbours differ by one step of phase, or none
    closed = np.append(order, order[0])
    circuit = go.Scatter(
        x=circle.points[closed, 0],
        y=circle.points[closed, 1],
        mode="lines+markers",
        line={"color": MUTED, "width": 1},
        marker={"color": BLUE, "size": 5},
        customdata=np.array(circle.operands)[closed],
        hovertemplate="operand %{customdata}<extra></extra>",
        showlegend=False,
    )
    arrows = [
        {
            **dict(zip("xy", circle.points[element].tolist(), strict=True)),
            "text": str(circle.operands[element]),
            "arrowcolor": MUTED,
            "arrowwidth": 1,
        }
        for element in (0, 1)
    ]
    layout = {
        "template": TEMPLATE,
        "annotations": arrows,
        "margin": {"l": 8, "r": 8, "t": 32, "b": 8},
        "xaxis": {"title": {"text": "along cos"}, "constrain": "domain"},
        "yaxis": {"title": {"text": "along sin"}, "scaleanchor": "x", "constrain": "domain"},
    }
    look_for = (
        f"{circle.share:.1%} of the embedding's variance; off the hours by {circle.roughness:.0%} of "
        f"the radius. The line joins {circle.operands[order[0]]}, {circle.operands[order[1]]}, "
        f"{circle.operands[order[2 % n]]} and so on, by phase."
    )
    return Drawing(go.Figure(circuit, layout), f"Frequency {circle.frequency}", look_for)
