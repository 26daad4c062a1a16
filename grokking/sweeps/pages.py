"""plots/ of a sweep: four pages of figures and an index with the table, verdicts and links."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from grokking.files import names
from grokking.pictures.branch_sentences import branches_told
from grokking.pictures.drawings import Drawing
from grokking.pictures.experiment import describe_experiment
from grokking.pictures.introduction import introduce
from grokking.pictures.pages.page import (
    Block,
    Figures,
    Linked,
    Links,
    Prose,
    Table,
    TableCell,
    write_page,
)
from grokking.sweeps.against_axis import epoch_figure
from grokking.sweeps.axis import capitalised, value_words, words
from grokking.sweeps.curves import accuracy_figures, drawn_runs, facets, loss_figure
from grokking.sweeps.figures import (
    SURVIVAL,
    distribution_figure,
    scaling_figure,
    survival_figures,
)
from grokking.sweeps.look import drawn_panels
from grokking.sweeps.phase_diagram import anchor, phase_diagrams
from grokking.sweeps.records import RunRecord, Sweep
from grokking.sweeps.tables import (
    LAW_HEADER,
    LAW_LEGEND,
    LEGEND,
    Summary,
    epoch_text,
    header,
    law_rows,
    rows,
    scaling_line,
    session_lines,
    verdict_line,
)
from grokking.system.errors import RunError

MOST_FACETS = 12  # cells of one axis, up to which each has a panel, or a column, of its own
MOST_LINKS = 60  # runs, up to which the index lists all their pages below the table


def write_sweep_pages(sweep: Sweep, summary: Summary) -> Path:
    """Write all pages into the sweep's plots/; returns the index. RunError if the disk refuses."""
    plots = sweep.directory / names.PLOTS
    try:
        plots.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot create {plots}: {error.strerror}") from error
    runs = _runs_in_order(sweep)
    folders = [sweep.directory / run.directory for run in runs]
    described = describe_experiment(folders, [run.last_epoch for run in runs])
    described.sentences.extend(branches_told(folders))

    def write(name: str, title: str, blocks: Sequence[Block]) -> Path:
        whole = [*introduce(described), *blocks]
        return write_page(plots / name, f"{title}: {described.title}", whole, "shared")

    titles = {name: f"{title} by {sweep.name}" for name, (title, _) in PAGES.items()}
    for name, (_, blocks) in PAGES.items():
        back = Links([(names.INDEX, "Back to the table")])
        write(name, titles[name], [*blocks(sweep, summary), back])
    swept = (
        f"{capitalised(sweep.name).replace(' ', '-')} sweep" if len(sweep.axes) == 1 else "Sweep"
    )
    return write(names.INDEX, swept, _index(sweep, summary, titles))


def _accuracy_page(sweep: Sweep, summary: Summary) -> list[Block]:
    figures = accuracy_figures(sweep)
    notes = _left_out(sweep)
    if len(sweep.axes) > 1:
        return [*notes, *_in_rows(figures, 2)]
    panels = facets(sweep) if len(sweep.cells) <= MOST_FACETS else []
    one_by_one = Prose(
        [f"The same, one panel per {sweep.axes[0].name}; grey: the runs of the others."],
        "One by one",
    )
    return [*notes, Figures(figures), *([one_by_one] if panels else []), *_in_rows(panels)]


def _left_out(sweep: Sweep) -> list[Block]:
    """What is not drawn, of more runs or panels than a page can hold."""
    runs, panels = len(drawn_runs(sweep)), len(drawn_panels(sweep))
    of_panels = len(sweep.panels())
    lines = [f"{panels} of {of_panels} panels are drawn here."] if panels < of_panels else []
    if runs < len(sweep.runs):
        lines.append(f"{runs} of {len(sweep.runs)} runs are drawn at most: one of a cell.")
    return [Prose(lines)] if lines else []


def _in_rows(drawings: Sequence[Drawing], columns: int = 3) -> list[Block]:
    return [
        Figures(drawings[start : start + columns]) for start in range(0, len(drawings), columns)
    ]


def _distribution_page(sweep: Sweep, summary: Summary) -> list[Block]:
    several = len(sweep.axes) > 1 or len(sweep.cells) > MOST_FACETS
    first = epoch_figure(sweep) if several else distribution_figure(sweep)
    survival = survival_figures(sweep)
    blocks: list[Block] = [Figures([first]), *_left_out(sweep)]
    if len(survival) > 1:
        blocks.append(Prose([f"A curve per {sweep.axes[0].name}."], SURVIVAL))
    blocks += _in_rows(survival, min(2, len(survival)))
    if summary["delay_scaling"] is not None:
        blocks.append(Figures([scaling_figure(sweep, summary["delay_scaling"])]))
    if scaling_line(summary):
        blocks.append(Prose([scaling_line(summary)]))
    if summary["delay_laws"]:
        table = Table(
            "log(median delay) = slope x log(x) + constant", LAW_HEADER, law_rows(summary)
        )
        blocks += [Prose([LAW_LEGEND], "What the delay follows"), table]
    return blocks


def _combined_page(sweep: Sweep, summary: Summary) -> list[Block]:
    if len(sweep.axes) > 1:
        return [
            *_in_rows(phase_diagrams(sweep, names.PHASE_DIAGRAM), 2),
            Figures([epoch_figure(sweep), loss_figure(sweep)]),
        ]
    several = len(sweep.cells) > MOST_FACETS
    return [
        Figures([*accuracy_figures(sweep), loss_figure(sweep)]),
        Figures(
            [
                epoch_figure(sweep) if several else distribution_figure(sweep),
                *survival_figures(sweep),
            ]
        ),
    ]


def _phase_page(sweep: Sweep, summary: Summary) -> list[Block]:
    return [
        *_in_rows(phase_diagrams(sweep), 2),
        Figures([epoch_figure(sweep)]),
        _cell_table(sweep, summary, with_runs=True),
    ]


def _cell_table(sweep: Sweep, summary: Summary, with_runs: bool = False) -> Table:
    """One row per cell, and links to its runs."""
    cells = list(sweep.cells)
    lines: list[list[TableCell]] = [list(row) for row in rows(summary)]
    columns = header(summary)
    if with_runs:
        columns.append("runs")
        for line, runs in zip(lines, sweep.cells.values(), strict=True):
            line.append(Linked([_best_link(sweep, run) for run in runs]))
    of_cells = [anchor(cell, cells) for cell in cells] if with_runs else []
    return Table(f"Per {sweep.name}", columns, lines, of_cells, "cells.csv")


def _index(sweep: Sweep, summary: Summary, titles: dict[str, str]) -> list[Block]:
    cells = [_run_cells(sweep, run) for run in _runs_in_order(sweep)]
    counted = f"{summary['runs_read']} runs of {summary['sweep']}"
    verdicts = [verdict_line(verdict) for verdict in summary["verdicts"]]
    diagrams = phase_diagrams(sweep, names.PHASE_DIAGRAM)
    blocks: list[Block] = [
        Prose([f"{counted}, {summary['runs_not_counted']} not counted.", *summary["warnings"]]),
        Prose(session_lines(summary)),
        *([Prose(verdicts, "Verdicts")] if verdicts else []),
        *_in_rows(diagrams, 2),
        _cell_table(sweep, summary),
        Prose([LEGEND, scaling_line(summary)] if scaling_line(summary) else [LEGEND]),
        Links(list(titles.items())),
        *([] if diagrams else [Figures([distribution_figure(sweep)])]),
        Prose([], "Runs"),
        Table("Every run", list(cells[0]), [list(row.values()) for row in cells], (), "runs.csv"),
    ]
    if len(sweep.runs) <= MOST_LINKS:
        blocks.append(Links(_run_links(sweep)))
    if sweep.faults:
        faults = [[fault.directory, fault.fault] for fault in sweep.faults]
        blocks.append(Table("Not counted", ["folder", "fault"], faults))
    return blocks


def _run_cells(sweep: Sweep, run: RunRecord) -> dict[str, TableCell]:
    """Of the table of all runs: column -> text, or where it leads."""
    final = run.final_validation_accuracy
    return {
        "folder": Linked([(_best_link(sweep, run)[0], run.directory)]),
        **{words(field): value_words(value) for field, value in run.values.items()},
        "seed": str(run.seed),
        "epochs": f"{run.last_epoch:,}",
        "memorised": epoch_text(run.memorization_epoch),
        "outcome": run.outcome_in_words,
        "final validation": "-" if final is None else f"{final:.1%}",
    }


def _runs_in_order(sweep: Sweep) -> list[RunRecord]:
    return [run for runs in sweep.cells.values() for run in runs]


def _best_link(sweep: Sweep, run: RunRecord) -> tuple[str, str]:
    """Where a run's row leads: its report, else its pictures; nowhere without pages. And its seed."""
    for page in (names.REPORT, f"{names.PICTURES}/{names.INDEX}"):
        if os.path.exists(sweep.directory / run.directory / page):  # False where it may not look
            return quote(os.fsencode(f"../{run.directory}/{page}")), f"seed {run.seed}"
    return "", f"seed {run.seed}"


def _run_links(sweep: Sweep) -> list[tuple[str, str]]:
    """Each run's own pages, as far as they exist, relative to plots/."""
    pages = {f"{names.PICTURES}/{names.INDEX}": "pictures", names.REPORT: "report"}
    return [
        (quote(os.fsencode(f"../{run.directory}/{page}")), f"{run.directory}: {what}")
        for run in _runs_in_order(sweep)
        for page, what in pages.items()
        if os.path.exists(sweep.directory / run.directory / page)  # False where it may not look
    ]


PAGES: dict[str, tuple[str, Callable[[Sweep, Summary], list[Block]]]] = {  # beside the index
    names.ACCURACY_PLOT: ("Validation accuracy", _accuracy_page),
    names.DISTRIBUTION_PLOT: ("Grok epochs", _distribution_page),
    names.COMBINED_PLOT: ("Everything together", _combined_page),
    names.PHASE_DIAGRAM: ("Outcomes and epochs", _phase_page),
}
