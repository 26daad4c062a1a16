"""Spectra of the embedding through a run -> drawings: pure functions, without torch or files."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from grokking.analysis.scenes import Film
from grokking.analysis.spectra import are_few
from grokking.pictures.drawings import Drawing
from grokking.pictures.style import SEQUENTIAL, TEMPLATE
from grokking.pictures.thinning import tick_places
from grokking.task import Task

_LABELS = 10  # beside each other on an axis without touching


def spectrum_figure(film: Film) -> Drawing:
    """Norm of each frequency in W_E (upwards) at each frame (to the right), brighter is stronger."""
    frequencies = np.arange(1, film.spectra.shape[1] + 1)
    names = [f"{epoch:,}" for epoch in film.epochs]
    heatmap = go.Heatmap(
        x=list(range(len(names))),
        y=frequencies,
        z=film.spectra.T.astype(np.float32),
        customdata=[[[name, label] for name in names] for label in block_labels(film.task)],
        colorscale=SEQUENTIAL,
        zmin=0,  # so that frequencies that are alike look alike
        hovertemplate=f"epoch %{{customdata[0]}}<br>{block_word(film.task)} %{{customdata[1]}}<br>"
        "norm %{z:.3g}<extra></extra>",
        colorbar={"title": {"text": "norm in W_E", "side": "right"}, "thickness": 10},
    )
    ticks = list(tick_places(len(names)))
    layout = {
        "template": TEMPLATE,
        "height": 420,
        "margin": {"l": 8, "r": 8, "t": 32, "b": 8},
        "xaxis": {
            "title": {"text": "epoch of each column"},
            "tickvals": ticks,
            "ticktext": [names[i] for i in ticks],
        },
        "yaxis": {
            "title": {"text": block_word(film.task)},
            **frequency_ticks(film.key_frequencies, film.task),
        },
    }
    return Drawing(go.Figure(heatmap, layout))


def block_word(task: Task) -> str:
    """What a block of the task's basis is called."""
    return "frequency" if task.group is None else task.group.basis.kind


def block_labels(task: Task) -> list[str]:
    """The names of all blocks."""
    return [] if task.group is None else list(task.group.basis.names)


def frequency_ticks(keys: Sequence[int], task: Task) -> dict[str, Any]:
    """Labels of an axis of blocks: the keys where they are few, neighbours sharing one label.

    Else about six, evenly spaced; of a handful, all.
    """
    count = task.blocks
    if count <= _LABELS:
        return {"tickvals": list(range(1, count + 1)), "ticktext": block_labels(task)}
    if not are_few(keys, task):
        return {"tickvals": [1 + place for place in tick_places(count)]}
    groups: list[list[int]] = []
    for key in keys:
        if groups and key - groups[-1][-1] < count / _LABELS:
            groups[-1].append(key)
        else:
            groups.append([key])
    return {
        "tickvals": [sum(group) / len(group) for group in groups],
        "ticktext": [", ".join(map(str, group)) for group in groups],
    }
