"""The pages of one activation surface, and its statistics in words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from grokking.files.surfaces import Surface
from grokking.fourier import diagonal_periodicity
from grokking.pictures.experiment import Experiment
from grokking.pictures.figures.surfaces import combined_figures, surface_figure
from grokking.pictures.introduction import introduce
from grokking.pictures.pages.page import Block, Facts, Figures, write_page
from grokking.pictures.surface_views import surface_title
from grokking.task import Group

PlotlyJs = Literal["inline", "shared"]


def surface_facts(surface: Surface) -> list[tuple[str, str]]:
    """Name and value of every statistic: of the surface, of its diagonal, of its strongest wave."""
    values = surface.values[~np.isnan(surface.values)]
    scale = np.abs(values).max() or 1.0  # sums and squares of scaled values stay in range
    unit, diagonal = values / scale, np.diagonal(surface.grid) / scale
    wave, group = surface.wave, surface.group
    facts = [
        ("minimum", f"{values.min():.4g}"),
        ("maximum", f"{values.max():.4g}"),
        ("mean", f"{scale * unit.mean():.4g}"),
    ]
    if not np.isnan(diagonal).any():
        facts += _diagonal_facts(surface, scale, diagonal)
    if group is None:
        return facts
    strongest = "none" if wave is None else str(group.basis.label(wave.frequency))
    return [
        *facts,
        (f"strongest {group.basis.kind} of the surface", strongest),
        ("its share of the variance", "none" if wave is None else f"{wave.share:.4f}"),
    ]


def _diagonal_facts(
    surface: Surface, scale: float, diagonal: NDArray[Any]
) -> list[tuple[str, str]]:
    """Of the main diagonal, in the group's order where there is one; its waves where they are known."""
    group = surface.group
    pairs, order = ("", "") if group is None else _diagonal_told(group)
    facts = [
        (f"diagonal{pairs} mean", f"{scale * diagonal.mean():.4g}"),
        (f"diagonal{pairs} std", f"{scale * diagonal.std():.4g}"),
        (f"diagonal{pairs} range", f"{scale * np.ptp(diagonal):.4g}"),
    ]
    if group is None or group.basis.kind != "frequency":
        return facts
    periodicity = diagonal_periodicity(surface.grid)
    return [
        *facts,
        (f"dominant frequency on the diagonal{pairs}{order}", str(periodicity.frequency or "none")),
        (f"periodicity strength{order} (at most 0.5)", f"{periodicity.strength:.4f}"),
    ]


def _diagonal_told(group: Group) -> tuple[str, str]:
    """The pairs of operands on the diagonal of the group's table, where they are not (a, a); their order."""
    pairs = ""
    if not np.array_equal(group.first_order, group.second_order):
        pairs = " (a, 1/a)" if group.listed else " (a, -a)"
    return pairs, f" by {group.listed}" if group.listed else ""


def write_surface_page(
    path: Path, surface: Surface, plotly_js: PlotlyJs, described: Experiment | None = None
) -> Path:
    """The surface in 3-D, after what is known of its run."""
    return _write(path, surface, [Figures([surface_figure(surface)])], plotly_js, described)


def write_combined_page(
    path: Path, surface: Surface, plotly_js: PlotlyJs, described: Experiment | None = None
) -> Path:
    """The surface in 3-D beside its heatmaps, one for each order."""
    figures = combined_figures(surface)
    rows = [figures] if len(figures) < 4 else [figures[:2], figures[2:]]
    shown = [Figures(row, (1.35, 1, 1)[: len(row)] if row is figures else (1, 1)) for row in rows]
    return _write(path, surface, shown, plotly_js, described)


def _write(
    path: Path,
    surface: Surface,
    figures: Sequence[Figures],
    plotly_js: PlotlyJs,
    described: Experiment | None,
) -> Path:
    first = [] if described is None else introduce(described)
    blocks: list[Block] = [*first, *figures, Facts(surface_facts(surface))]
    return write_page(path, surface_title(surface), blocks, plotly_js)
