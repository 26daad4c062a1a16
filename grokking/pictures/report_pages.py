"""report.html: the whole story of a run on one page that stands alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grokking.analysis.fourier import strongest_wave
from grokking.analysis.phases import Phases
from grokking.analysis.progress_measures import ProgressMeasures
from grokking.analysis.report_card import Row
from grokking.analysis.scenes import Circle, Film, Scenes
from grokking.artifacts import History, Series, Surface
from grokking.pictures.circle_figures import circle_figure
from grokking.pictures.history_figures import history_figure
from grokking.pictures.pages import Block, Details, Figures, Links, Prose, Table, write_page
from grokking.pictures.progress_figures import progress_figure
from grokking.pictures.spectrum_figures import spectrum_figure
from grokking.pictures.surface_figures import surface_figure, wave_heatmap

DATA_ROWS = 40  # of the table behind a curve, about


@dataclass(frozen=True)
class Story:
    """What the page tells. None where the run has not finished or recorded no weights."""

    history: History | None
    grokking: Mapping[str, Any] | None  # grokking.json
    measures: ProgressMeasures | None
    phases: Phases | None
    scenes: Scenes
    rows: Sequence[Row]
    links: Sequence[tuple[str, str]]
    caution: Sequence[str]  # sentences that stand before the card


def write_report_page(path: Path, title: str, story: Story) -> Path:
    """Write the page, with plotly.js in it."""
    return write_page(path, title, report_blocks(story), "inline")


def report_blocks(story: Story) -> list[Block]:
    """The chapters in order; those that need what the run does not have are left out."""
    blocks: list[Block] = [Links(story.links)] if story.links else []
    if story.history is not None and story.grokking is not None:
        blocks += _curves(story.history, story.grokking)
    if story.measures is not None and story.phases is not None:
        blocks += _measures(story.measures, story.phases)
    if story.scenes.film is not None:
        blocks += _spectrum(story.scenes.film)
    if story.scenes.circles:
        blocks += _circles(story.scenes.circles)
    blocks += _surfaces(story.scenes.surfaces)
    return blocks + _card(story.rows, story.caution)


def _curves(history: History, grokking: Mapping[str, Any]) -> list[Block]:
    figure = history_figure(history, grokking)
    figure.update_layout(title={"text": ""})
    rows = _thinned(
        history.epochs,
        (
            history.training_losses,
            history.validation_losses,
            history.training_accuracies,
            history.validation_accuracies,
        ),
    )
    names = ["training loss", "validation loss", "training accuracy", "validation accuracy"]
    return [
        Prose([waiting(grokking)], "1. First it memorises, then it generalises"),
        Figures([figure]),
        _data("losses and accuracies", ["epoch", *names], rows),
    ]


def waiting(grokking: Mapping[str, Any]) -> str:
    """How long this run sat on the plateau, in a sentence."""
    memorised, grokked = grokking["memorization_epoch"], grokking["grok_epoch"]
    if memorised is None:
        return "This run has not learned its training pairs by heart."
    if grokked is None:
        return f"This run knew its training pairs by epoch {memorised:,} and has not grokked."
    return (
        f"This run knew its training pairs by heart at epoch {memorised:,} and grokked at epoch "
        f"{grokked:,}, {grokked - memorised:,} epochs later."
    )


def _measures(measures: ProgressMeasures, phases: Phases) -> list[Block]:
    figure = progress_figure(measures, phases)
    figure.update_layout(title={"text": ""})
    columns = (
        measures.training_losses,
        measures.validation_losses,
        measures.restricted_losses,
        measures.excluded_losses,
        measures.W_E_gini,
        measures.W_L_gini,
        measures.squares_total,
    )
    header = [
        *("epoch", "training loss", "validation loss", "restricted loss", "excluded loss"),
        *("Gini of W_E", "Gini of W_L", "sum of squared weights"),
    ]
    return [
        Prose([head_start(measures)], "2. The circuit grows on the plateau"),
        Figures([figure]),
        _data("progress measures", header, _thinned(measures.epochs, columns)),
    ]


def head_start(measures: ProgressMeasures) -> str:
    """When the restricted and the validation loss fell to half their maxima, in a sentence."""
    restricted, validation = (
        _halved(measures.epochs, series)
        for series in (measures.restricted_losses, measures.validation_losses)
    )
    keys = ", ".join(map(str, measures.key_frequencies)) or "none"
    if restricted is None or validation is None:
        return f"Key frequencies of the final model: {keys}."
    return (
        f"Key frequencies of the final model: {keys}. With them alone the loss fell below half of "
        f"its maximum for good at epoch {restricted:,}; the validation loss did at epoch "
        f"{validation:,}."
    )


def _halved(epochs: Sequence[int], series: Series) -> int | None:
    """The first epoch after the last at which the series is at least half its maximum."""
    known = [value for value in series if value is not None]
    if not known:
        return None
    high = [i for i, v in enumerate(series) if v is None or v >= max(known) / 2]
    return epochs[high[-1] + 1] if high[-1] + 1 < len(epochs) else None


def _spectrum(film: Film) -> list[Block]:
    final = film.spectra[-1]
    share = float((final[[k - 1 for k in film.key_frequencies]] ** 2).sum() / (final**2).sum())
    look_for = (
        "Look for bands: at first every frequency is as strong as any other, then a few grow and the "
        f"rest fades. At the end the key frequencies hold {share:.1%} of the embedding's squared norm "
        "(constant part left out)."
    )
    rows = [
        [f"{epoch:,}", *(f"{spectrum[k - 1]:.4g}" for k in film.key_frequencies)]
        for epoch, spectrum in zip(film.epochs, film.spectra, strict=True)
    ]
    header = ["epoch", *(f"frequency {k}" for k in film.key_frequencies)]
    return [
        Prose([look_for], "3. A few frequencies take over the embedding"),
        Figures([spectrum_figure(film)]),
        _data("norms of the key frequencies in W_E", header, rows),
    ]


def _circles(circles: Sequence[Circle]) -> list[Block]:
    roundest = min(circles, key=lambda circle: circle.roughness)
    told = (
        "Look for circles: along cos and sin of a key frequency the network has laid its "
        f"{len(circles[0].points)} numbers out like the hours of a clock. Here the roundest is "
        f"frequency {roundest.frequency}, whose radius varies by {roundest.roughness:.0%}."
    )
    rows = [[str(c.frequency), f"{c.share:.4f}", f"{c.roughness:.4f}"] for c in circles]
    header = ["frequency", "share of the variance", "radius: standard deviation / mean"]
    figures = [circle_figure(circle) for circle in circles]
    return [
        Prose([told], "4. Numbers on circles"),
        Figures(figures),
        _data("circles", header, rows),
    ]


def _surfaces(surfaces: Sequence[Surface]) -> list[Block]:
    if not surfaces:
        return []
    waves = [(surface, strongest_wave(surface.values)) for surface in surfaces]
    figures, rows = [], []
    for surface, wave in waves:
        figures.append(wave_heatmap(surface, wave))
        share = "-" if wave is None else f"{wave.share:.4f}"
        rows.append(
            [
                str(surface.neuron_index),
                "-" if wave is None else str(wave.frequency),
                share,
                f"{surface.values.max():.4g}",
                f"{surface.values.mean():.4g}",
            ]
        )
    best, _ = max(waves, key=lambda pair: 0.0 if pair[1] is None else pair[1].share)
    in_3d = surface_figure(best, waves_first=True)
    in_3d.update_layout(height=560)
    told = (
        "Look for rows of hills: a neuron that takes part is one wave over all pairs of operands. "
        "These are the neurons of this run that come nearest to one, one for each frequency."
    )
    header = ["neuron", "frequency", "share of the variance", "peak", "mean"]
    return [
        Prose([told], "5. Waves in the neurons"),
        Figures([in_3d]),
        Figures(figures),
        _data("neurons", header, rows),
    ]


def _card(rows: Sequence[Row], caution: Sequence[str]) -> list[Block]:
    header = ("verdict", "what", "paper", "this run", "accepted")
    cells = [(row.verdict, row.what, row.paper, row.run, row.accepted) for row in rows]
    passed = sum(row.passed is True for row in rows)
    judged = sum(row.passed is not None for row in rows)
    told = (
        f"{passed} of {judged} rows lie within the tolerance, which was fixed before anything was "
        "measured."
    )
    definitions = Table(
        "How each row is measured",
        ("what", "definition"),
        [(row.what, row.definition) for row in rows],
    )
    return [
        Prose([told, *caution], "6. Is it the paper's circuit?"),
        Table("This run beside Nanda et al. (2023)", header, cells),
        Details("How each row is measured", definitions),
    ]


def _data(what: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Details:
    return Details(f"The data: {what}", Table(what, header, rows))


def _thinned(epochs: Sequence[int], columns: Sequence[Series]) -> list[list[str]]:
    """About DATA_ROWS rows, evenly spaced in the logarithm of the epoch and at the end."""
    last = len(epochs) - 1
    places = sorted({round(last ** (i / DATA_ROWS)) for i in range(DATA_ROWS + 1)} | {0, last})
    return [
        [f"{epochs[i]:,}", *("-" if c[i] is None else f"{c[i]:.4g}" for c in columns)]
        for i in places
        if i <= last
    ]
