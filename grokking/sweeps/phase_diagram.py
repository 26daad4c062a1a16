"""The phase diagram of two axes: a cell's outcome, and on a second view when it generalised.

The phases are those of Liu et al. (2022, arXiv 2205.10343, section 4): comprehension, grokking, memorisation,
confusion; here by the rule of detection.py. A letter stands in every cell, so that no reader needs the colours.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import plotly.graph_objects as go

from grokking.detection import DIVERGED, GENERALISED, GROKKED, LEARNING, MEMORISED
from grokking.pictures.drawings import Button, Buttons, Drawing
from grokking.pictures.style import (
    BLACK,
    GREEN,
    GREY,
    INK,
    ORANGE,
    SEQUENTIAL,
    SKY_BLUE,
    TEMPLATE,
)
from grokking.sweeps.axis import capitalised, named, value_words
from grokking.sweeps.records import Cell, RunRecord, Sweep, median_generalising
from grokking.sweeps.survival import median_interval
from grokking.sweeps.tables import epoch_text
from grokking.system.durations import counted

Runs = Sequence[RunRecord]


class Phase(NamedTuple):
    """How an outcome is drawn, and what Liu et al. call it."""

    letter: str
    color: str
    ink: str
    words: str


PHASES = {
    GENERALISED: Phase("C", GREEN, "white", "comprehension: generalised at once"),
    GROKKED: Phase("G", SKY_BLUE, INK, "grokking: memorised, generalised late"),
    MEMORISED: Phase("M", ORANGE, INK, "memorisation: not generalised by its last epoch"),
    LEARNING: Phase("X", GREY, INK, "confusion: not even memorised by its last epoch"),
    DIVERGED: Phase("D", BLACK, "white", "diverged"),
}
LATER = (
    "Kaplan-Meier median of the epoch at which a cell's runs generalised, late or not; darker is later. > "
    "marks a cell whose median was not reached by its last epoch."
)
T = TypeVar("T")
ROOMY = 10  # columns and lines up to which a cell has room for its counts


def anchor(cell: Cell, cells: Sequence[Cell]) -> str:
    """The id of a cell's row in the table below the diagram."""
    return f"cell-{cells.index(cell)}"


def leading_outcome(runs: Runs) -> str:
    """The outcome of most runs; of equally many, that which comes first in PHASES."""
    counts = Counter(run.outcome for run in runs)
    return max(PHASES, key=lambda outcome: counts[outcome])


def counts_in_words(runs: Runs) -> str:
    """2 grokked, 1 memorised."""
    counts = Counter(run.outcome for run in runs)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in PHASES if counts[outcome])


def median_in_words(runs: Runs) -> str:
    """Of the epoch of generalising: the Kaplan-Meier median with its interval, or beyond which it lies."""
    followed = [run.generalising for run in runs]
    median, interval = median_generalising(runs), median_interval(followed)
    if median is None:
        return f"not reached by epoch {max(o.time for o in followed):,}"
    if interval is None:
        return epoch_text(median)
    high = "beyond the last epoch" if interval.high is None else f"to {interval.high:,}"
    return (
        f"{median:,}, interval from {interval.low:,} {high} (covers it in {interval.coverage:.1%})"
    )


def phase_diagrams(sweep: Sweep, page: str = "") -> list[Drawing]:
    """The diagram of the first two axes, one for each value of the others.

    `page` holds the table of cells, if not that of the diagram.
    """
    if len(sweep.axes) < 2:
        return []
    rests = dict.fromkeys(cell[2:] for cell in sweep.cells)
    return [_diagram(sweep, rest, page) for rest in rests]


class _Grid(NamedTuple):
    """The cells of one diagram, a line of them for each value of the second axis."""

    sweep: Sweep
    rest: Cell  # the values of the axes after the second
    page: str

    @property
    def lines(self) -> list[list[tuple[Cell, Runs]]]:
        across, up = self.sweep.axes[:2]
        cells = [[(x, y, *self.rest) for x in across.values] for y in up.values]
        return [[(cell, self.sweep.cells.get(cell, [])) for cell in line] for line in cells]

    def each(self, of: Callable[[Cell, Runs], T], empty: T) -> list[list[T]]:
        """What `of` says of each cell; `empty` where there is none."""
        return [[of(cell, runs) if runs else empty for cell, runs in line] for line in self.lines]

    @property
    def is_roomy(self) -> bool:
        """Is there room for counts in a cell?"""
        return max(len(axis.values) for axis in self.sweep.axes[:2]) <= ROOMY


def _diagram(sweep: Sweep, rest: Cell, page: str) -> Drawing:
    grid, order = _Grid(sweep, rest, page), list(PHASES)
    outcomes = grid.each(lambda _, runs: leading_outcome(runs), "")
    figure = go.Figure(layout={"template": TEMPLATE, "height": 460})
    figure.add_heatmap(
        z=grid.each(lambda _, runs: order.index(leading_outcome(runs)), None),
        text=grid.each(lambda _, runs: _letters(runs, grid.is_roomy), ""),
        colorscale=_steps([PHASES[outcome].color for outcome in order]),
        zmin=-0.5,
        zmax=len(order) - 0.5,
        showscale=False,
        **_shared(grid),
    )
    figure.add_heatmap(
        z=grid.each(lambda _, runs: _logarithm(median_generalising(runs)), None),
        text=grid.each(lambda _, runs: _epochs(median_generalising(runs), grid.is_roomy), ""),
        colorscale=f"{SEQUENTIAL}_r",
        colorbar=_epoch_bar(
            [m for line in grid.lines for _, runs in line if (m := median_generalising(runs))]
        ),
        visible=False,
        **_shared(grid),
    )
    keys = [_key(PHASES[o]) for o in order if any(o in line for line in outcomes)]
    figure.add_traces(keys)
    _axes(figure, sweep)
    title = capitalised(named(sweep.fields[2:], rest)) or f"Phase diagram: {sweep.name}"
    look_for = _look_for(sweep, rest)
    views = [
        Button("Outcome", {"visible": [True, False, *[True] * len(keys)]}, {}, look_for),
        Button("Median epoch", {"visible": [False, True, *[False] * len(keys)]}, {}, LATER),
    ]
    return Drawing(figure, title, look_for, Buttons("view", views))


def _shared(grid: _Grid) -> dict[str, Any]:
    """What both views of a diagram have: places, gaps, and what a cell says and leads to."""
    keys = list(grid.sweep.cells)
    across, up = grid.sweep.axes[:2]
    return {
        "x": list(range(len(across.values))),
        "y": list(range(len(up.values))),
        "customdata": grid.each(
            lambda cell, runs: (
                _words(grid.sweep, cell, runs),
                f"{grid.page}#{anchor(cell, keys)}",
            ),
            ("", ""),
        ),
        "hovertemplate": "%{customdata[0]}<extra></extra>",
        "texttemplate": "%{text}",
        "textfont": {"size": 12},
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
    }


def _logarithm(epoch: int | None) -> float | None:
    return None if epoch is None else math.log10(max(epoch, 1))


def _words(sweep: Sweep, cell: Cell, runs: Runs) -> str:
    return (
        f"{sweep.named(cell).replace(', ', '<br>')}<br>{counted(len(runs), 'run')}: {counts_in_words(runs)}<br>"
        f"generalised: median epoch {median_in_words(runs).replace(', interval', '<br>interval')}<br>"
        "press for its runs"
    )


def _letters(runs: Runs, roomy: bool) -> str:
    """G, or with 2/3 below it where not all agree and there is room."""
    leading = leading_outcome(runs)
    count = sum(run.outcome == leading for run in runs)
    letter = PHASES[leading].letter
    if count == len(runs):
        return letter
    return f"{letter}<br>{count}/{len(runs)}" if roomy else letter.lower()


def _epochs(median: int | None, roomy: bool) -> str:
    if median is None:
        return ">"
    return _short(median) if roomy else ""


def _short(epoch: int) -> str:
    """840, 1.2k or 120k."""
    if epoch < 1_000:
        return f"{epoch}"
    return f"{epoch / 1_000:.1f}k" if epoch < 9_950 else f"{epoch / 1_000:,.0f}k"


def _steps(colors: Sequence[str]) -> list[tuple[float, str]]:
    """A colour scale of equal steps."""
    edges = [place / len(colors) for place in range(len(colors) + 1)]
    return [
        (edge, color)
        for place, color in enumerate(colors)
        for edge in (edges[place], edges[place + 1])
    ]


def _epoch_bar(medians: Sequence[int]) -> dict[str, Any]:
    low, high = min(medians, default=1), max(medians, default=1)
    powers = range(math.floor(math.log10(max(low, 1))), math.ceil(math.log10(max(high, 1))) + 1)
    ticks = [digit * 10**power for power in powers for digit in (1, 2, 5)]
    return {
        "title": {"text": "epoch"},
        "tickvals": [math.log10(tick) for tick in ticks],
        "ticktext": [f"{tick:,}" for tick in ticks],
        "thickness": 12,
    }


def _key(phase: Phase) -> go.Scatter:
    """An entry of the legend."""
    return go.Scatter(
        x=[None],
        y=[None],
        mode="markers",
        name=f"{phase.letter} {phase.words}",
        marker={"symbol": "square", "size": 14, "color": phase.color},
    )


def _axes(figure: go.Figure, sweep: Sweep) -> None:
    for update, axis in zip(
        (figure.update_xaxes, figure.update_yaxes), sweep.axes[:2], strict=True
    ):
        update(
            title_text=axis.name,
            tickvals=list(range(len(axis.values))),
            ticktext=[value_words(value) for value in axis.values],
            range=[-0.5, len(axis.values) - 0.5],
            title_standoff=14,
            showgrid=False,
            ticks="",
        )
    figure.update_layout(
        legend={"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0},
        margin_b=110,
    )


def _look_for(sweep: Sweep, rest: Cell) -> str:
    runs = [run for cell, of_cell in sweep.cells.items() if cell[2:] == rest for run in of_cell]
    cells = sum(cell[2:] == rest for cell in sweep.cells)
    return (
        "A cell is coloured by what became of most of its runs, its letter says the same; here "
        f"{counted(len(runs), 'run')} in {counted(cells, 'cell')}: {counts_in_words(runs)}. A fraction, or a "
        "small letter, marks a cell whose runs do not agree. Press a cell for its runs."
    )
