"""Figures of runs and of their networks, as plotly has them: the same as on the pages."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from grokking.analysis.scenes import Circle
from grokking.api.errors import not_yet
from grokking.api.run import Run
from grokking.files.branches import other_arm
from grokking.files.run_files import read_task
from grokking.files.surfaces import surfaces_of
from grokking.pictures.drawings import Drawing

if TYPE_CHECKING:
    from grokking.api.state import State

RUN_FIGURES = ("curves", "progress", "spectrum", "circles")
LATER = {"attention": "The figures that everyone shows", "phase_diagram": "Sweeps over any setting"}


def run_figure(run: Run, name: str) -> go.Figure:
    """Loss and accuracy; or, from the recorded weights, what the report shows."""
    if name == "curves":
        from grokking.pictures.figures.history import history_figure

        return titled(history_figure(run.probes, run.phases, other_arm(run.folder, run.probes)))
    if name in LATER:
        raise not_yet(f"the figure {name!r}", LATER[name])
    if name not in RUN_FIGURES:
        raise ValueError(f"name is {name!r}, expected {', '.join(RUN_FIGURES)}")
    task = read_task(run.folder)
    if name != "progress" and task.group is None:
        raise ValueError(
            f"no basis is known in which {task.words} would be sparse, so there is no figure {name!r}"
        )
    if name == "circles" and task.group is not None and task.group.basis.kind != "frequency":
        raise ValueError(
            f"{task.group.basis.plural} have no circles: the figure 'spectrum' has them"
        )
    found = run.investigated
    if name == "circles":
        return circles(found.scenes.circles)
    if found.scenes.film is None or found.measures is None or found.findings.phases is None:
        raise ValueError(
            f"{run.folder} has no recorded weights along the way, which {name!r} shows"
        )
    if name == "progress":
        from grokking.pictures.figures.progress import progress_figure

        return titled(progress_figure(found.measures, found.findings.phases, task))
    from grokking.pictures.figures.spectrum import block_word, spectrum_figure

    return titled(spectrum_figure(found.scenes.film), f"Norm of each {block_word(task)} in W_E")


def state_figure(state: "State", name: str, neuron: int) -> go.Figure:
    """The surface of a neuron in 3-D, in natural order."""
    if name in LATER:
        raise not_yet(f"the figure {name!r}", LATER[name])
    if name != "surface":
        raise ValueError(f"name is {name!r}, expected surface")
    from grokking.pictures.figures.surfaces import surface_figure

    [surface] = surfaces_of(state.task, [neuron], state.surfaces([neuron]), state.epoch)
    return titled(surface_figure(surface))


def titled(drawing: Drawing, title: str = "") -> go.Figure:
    """A drawing's figure with its title, or another, which a page sets as HTML, above it."""
    top = {"text": drawing.title or title, "x": 0.01, "y": 0.98, "yanchor": "top"}
    drawing.figure.update_layout(title=top, margin={"t": 110})
    return drawing.figure


def circles(found: Sequence[Circle]) -> go.Figure:
    """The circles of the key frequencies side by side."""
    from grokking.pictures.figures.circles import circle_figure

    if not found:
        raise ValueError("this network holds no key frequency as a circle")
    drawings = [circle_figure(circle) for circle in found]
    figure = make_subplots(
        cols=len(drawings), subplot_titles=[f"frequency {c.frequency}" for c in found]
    )
    for column, circle in enumerate((drawing.figure for drawing in drawings), start=1):
        figure.add_traces(circle.data, rows=1, cols=column)
        for arrow in circle.layout.annotations:
            figure.add_annotation(arrow, row=1, col=column)
        figure.update_xaxes(title=circle.layout.xaxis.title, col=column)
        figure.update_yaxes(scaleanchor=f"x{column if column > 1 else ''}", col=column)
    figure.update_yaxes(title=drawings[0].figure.layout.yaxis.title, col=1)
    figure.update_layout(template=drawings[0].figure.layout.template, height=420)
    operands = len(found[0].points)
    return titled(
        Drawing(figure, f"The {operands} operands in W_E, on the waves of each frequency")
    )
