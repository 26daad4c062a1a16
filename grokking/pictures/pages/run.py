"""The pictures of one run, in its folder visualizations/."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from grokking.files import names
from grokking.files.branches import other_arm
from grokking.files.history import History
from grokking.files.surfaces import Surface
from grokking.pictures.experiment import Experiment
from grokking.pictures.figures.history import history_figure
from grokking.pictures.figures.surfaces import wave_heatmap
from grokking.pictures.introduction import introduce
from grokking.pictures.pages.page import Figures, Links, Prose, write_page
from grokking.pictures.pages.surfaces import write_combined_page
from grokking.pictures.structure_sentences import waves_told
from grokking.pictures.surface_views import share, surface_title
from grokking.task import Task

HEATMAPS = 12  # surfaces shown on the index itself


def write_run_pages(
    directory: Path,
    described: Experiment,
    history: History,
    phases: Mapping[str, Any],
    surfaces: Sequence[Surface],
    task: Task,
) -> list[Path]:
    """Write visualizations/*.html of the run in `directory`; the first path is the index.

    `phases` is the content of grokking.json. One copy of plotly.js serves all pages.
    """
    folder = directory / names.PICTURES
    folder.mkdir(parents=True, exist_ok=True)
    training = history_figure(history, phases, other_arm(directory, history))
    first = introduce(described)
    pages = [
        write_page(
            folder / names.TRAINING_HISTORY,
            f"The curves of a run: {described.title}",
            [*first, Figures([training])],
            "shared",
        )
    ]
    links = [(pages[0].name, training.title)]
    for surface in surfaces:
        page = folder / f"{names.SURFACE.format(surface.neuron_index)}.html"
        pages.append(write_combined_page(page, surface, "shared", described))
        links.append((page.name, surface_title(surface)))
    blocks = [
        *first,
        Figures([training]),
        *_gallery(surfaces, task),
        Prose(["Each opens in a page of its own."], heading="All pictures"),
        Links(links),
    ]
    index = write_page(
        folder / names.INDEX, f"Pictures of a run: {described.title}", blocks, "shared"
    )
    return [index, *pages]


def _gallery(surfaces: Sequence[Surface], task: Task) -> list[Prose | Figures]:
    """Heatmaps of the neurons that are most nearly one wave, in wave order where there is one."""
    if not surfaces:
        return []
    best_first = sorted(surfaces, key=share, reverse=True)
    sentence = waves_told(list(map(share, surfaces)), "exported neurons", task)
    heatmaps = [wave_heatmap(surface) for surface in best_first[:HEATMAPS]]
    return [Prose([sentence.sentence], sentence.heading), Figures(heatmaps)]
