"""report.html: the whole story of a run on one page that stands alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from grokking.analysis.judging import Row
from grokking.analysis.phases import Phases
from grokking.analysis.progress_measures import ProgressMeasures
from grokking.analysis.scenes import Circle, Film, Gallery, Scenes
from grokking.analysis.spectra import are_few
from grokking.files.branches import Arm
from grokking.files.history import History, Series
from grokking.files.surfaces import Surface
from grokking.pictures.experiment import Experiment
from grokking.pictures.figures.circles import circle_figure
from grokking.pictures.figures.history import history_figure
from grokking.pictures.figures.progress import progress_figure
from grokking.pictures.figures.spectrum import block_word, spectrum_figure
from grokking.pictures.figures.surfaces import surface_figure, wave_heatmap
from grokking.pictures.introduction import introduce
from grokking.pictures.outcome_sentences import outcome_title
from grokking.pictures.pages.page import Block, Details, Figures, Links, Prose, Table, write_page
from grokking.pictures.structure_sentences import (
    block_named,
    blocks_word,
    circles_told,
    growth_told,
    listed,
    spectrum_told,
    strongest_frequencies,
    waves_told,
)
from grokking.pictures.style import parts
from grokking.pictures.surface_views import share
from grokking.pictures.thinning import log_places
from grokking.task import Task

DATA_ROWS = 40  # of the table behind a curve, about


@dataclass(frozen=True)
class Story:
    """What the page tells. None where the run has not recorded it."""

    described: Experiment
    history: History | None
    detected: Mapping[str, Any]  # as grokking.json has it, of the history so far
    measures: ProgressMeasures | None
    phases: Phases | None
    key_control: str  # the control of the key blocks, in words
    scenes: Scenes
    rows: Sequence[Row]
    links: Sequence[tuple[str, str]]
    caution: Sequence[str]  # sentences that stand before the card
    other: Arm | None = None  # of a branch, the run that it forks from


class Chapter(NamedTuple):
    """A part of the page: its heading without a number, what it says, and what it shows."""

    heading: str
    sentences: Sequence[str]
    shown: Sequence[Block]


def write_report_page(path: Path, story: Story) -> Path:
    """Write the page, with plotly.js in it."""
    title = f"The story of a run: {story.described.title}"
    return write_page(path, title, report_blocks(story), "inline")


def report_blocks(story: Story) -> list[Block]:
    """The introduction, and the chapters in order."""
    blocks = [*introduce(story.described), *([Links(story.links)] if story.links else [])]
    for number, chapter in enumerate(chapters(story), start=1):
        blocks += [Prose(chapter.sentences, f"{number}. {chapter.heading}"), *chapter.shown]
    return blocks


def chapters(story: Story) -> list[Chapter]:
    """Those that need what the run does not have are left out."""
    scenes, chapters = story.scenes, []
    if story.history is not None:
        chapters.append(_curves(story.history, story.detected, story.other))
    if story.measures is not None and story.phases is not None:
        task = scenes.gallery.task
        chapters.append(_measures(story.measures, story.phases, task, story.detected))
    if scenes.film is not None and scenes.film.task.group is not None:
        chapters.append(_spectrum(scenes.film, story.key_control))
    if scenes.circles:
        chapters.append(_circles(scenes.circles))
    if scenes.surfaces:
        chapters.append(_surfaces(scenes.surfaces, scenes.gallery))
    return [*chapters, _card(story.rows, story.caution)]


def _curves(history: History, detected: Mapping[str, Any], other: Arm | None) -> Chapter:
    both = {
        "loss": (history.training_losses, history.validation_losses),
        "accuracy": (history.training_accuracies, history.validation_accuracies),
    }
    columns = _columns(history.has_split, both)
    title = outcome_title(detected)
    drawing = history_figure(history, detected, other)._replace(title="")
    data = _series("losses and accuracies", history.epochs, columns)
    return Chapter(f"{title[0].upper()}{title[1:]}", [], [Figures([drawing]), data])


def _measures(
    measures: ProgressMeasures, phases: Phases, task: Task, detected: Mapping[str, Any]
) -> Chapter:
    few = are_few(measures.key_frequencies, task)
    drawing = progress_figure(measures, phases if few else Phases(None, None, None), task)
    losses = {"loss": (measures.training_losses, measures.validation_losses)}
    columns = {
        **_columns(measures.has_split, losses),
        "restricted loss": measures.restricted_losses,
        "excluded loss": measures.excluded_losses,
        "Gini of W_E": measures.W_E_gini,
        "Gini of W_L": measures.W_L_gini,
        "sum of squared weights": measures.squares_total,
    }
    data = _series("progress measures", measures.epochs, columns)
    words = growth_told(measures, task, detected)
    return Chapter(words.heading, [words.sentence], [Figures([drawing._replace(title="")]), data])


def _spectrum(film: Film, control: str) -> Chapter:
    keys = film.key_frequencies
    shown = keys if are_few(keys, film.task) else strongest_frequencies(film)
    rows = [
        [f"{epoch:,}", *(f"{spectrum[k - 1]:.4g}" for k in shown)]
        for epoch, spectrum in zip(film.epochs, film.spectra, strict=True)
    ]
    words = spectrum_told(film, control)
    header = ["epoch", *(block_named(film.task, k) for k in shown)]
    data = _data(f"norms of {blocks_word(film.task)} in W_E", header, rows)
    return Chapter(words.heading, [words.sentence], [Figures([spectrum_figure(film)]), data])


def _circles(circles: Sequence[Circle]) -> Chapter:
    words = circles_told(circles)
    rows = [
        [
            str(c.frequency),
            *(f"{part:.4f}" for part in (c.share, c.roughness)),
            _interval(c.control),
        ]
        for c in circles
    ]
    header = [
        *("frequency", "share of the variance", "rms distance from the hours / radius"),
        "the same with the numbers in random order",
    ]
    none_is_round = not any(circle.is_round for circle in circles)
    shown = [min(circles, key=lambda c: c.roughness)] if none_is_round else circles
    drawn = Figures([circle_figure(circle) for circle in shown])
    return Chapter(words.heading, [words.sentence], [drawn, _data("circles", header, rows)])


def _interval(ends: tuple[float, float]) -> str:
    return f"{ends[0]:.4f} to {ends[1]:.4f}"


def _surfaces(surfaces: Sequence[Surface], gallery: Gallery) -> Chapter:
    rows = [
        [
            str(s.neuron_index),
            *(
                ("-", "-")
                if s.wave is None
                else (block_named(gallery.task, s.wave.frequency), f"{s.wave.share:.4f}")
            ),
            f"{np.nanmax(s.values):.4g}",
            f"{np.nanmean(s.values):.4g}",
        ]
        for s in surfaces
    ]
    in_3d = surface_figure(max(surfaces, key=share), waves_first=True)
    in_3d.figure.update_layout(height=560)
    words = waves_told(gallery.shares, "neurons", gallery.task)
    names = listed([surface.neuron_index for surface in surfaces])
    group = gallery.task.group
    nearest = f"; in 3-D the one nearest to {'an irrep' if block_word(gallery.task) == 'irrep' else 'a wave'}"
    header = ["neuron", "strongest", "share of the variance", "peak", "mean"]
    return Chapter(
        words.heading,
        [words.sentence, f"Shown: {names}{'' if group is None else nearest}."],
        [
            Figures([in_3d]),
            Figures([wave_heatmap(surface) for surface in surfaces]),
            _data("neurons", header, rows),
        ],
    )


def _card(rows: Sequence[Row], caution: Sequence[str]) -> Chapter:
    counts = Counter(row.verdict for row in rows)
    verdicts = (
        f"Verdicts: {', '.join(f'{count} {word}' for word, count in counts.items())}. Tolerances were "
        "fixed before anything was measured; a control is the same measure of as much that is not key."
    )
    header = ("verdict", "what", "paper", "this run", "control", "accepted")
    cells = [
        (
            f"{row.verdict}: {row.reason}" if row.reason else row.verdict,
            *(row.what, row.paper, row.run),
            "-" if row.control is None else row.control.told,
            row.accepted,
        )
        for row in rows
    ]
    definitions = Table(
        "How each row is measured",
        ("what", "definition"),
        [(row.what, row.definition) for row in rows],
    )
    return Chapter(
        "Is it the paper's circuit?",
        [verdicts, *caution],
        [
            Table("This run beside Nanda et al. (2023)", header, cells),
            Details("How each row is measured", definitions),
        ],
    )


def _columns(has_split: bool, both: Mapping[str, Sequence[Series]]) -> dict[str, Series]:
    """Columns by name: of the training and of the other pairs, or of all."""
    named = ((what, part) for what, of in both.items() for part in parts(has_split, of))
    return {f"{name} {what}": series for what, ((name, _), series) in named}


def _data(what: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Details:
    return Details(f"The data: {what}", Table(what, header, rows))


def _series(what: str, epochs: Sequence[int], columns: Mapping[str, Series]) -> Details:
    """About DATA_ROWS rows, evenly spaced in the logarithm of the epoch and at the end."""
    rows = [
        [f"{epochs[i]:,}", *("-" if c[i] is None else f"{c[i]:.4g}" for c in columns.values())]
        for i in sorted(log_places(len(epochs), DATA_ROWS))
    ]
    return _data(what, ["epoch", *columns], rows)
