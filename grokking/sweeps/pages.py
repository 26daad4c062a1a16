"""plots/ of a sweep: three pages of figures and an index with the table, verdicts and links."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from grokking.files import names
from grokking.pictures.drawings import Drawing
from grokking.pictures.experiment import describe_experiment
from grokking.pictures.introduction import introduce
from grokking.pictures.pages.page import Block, Figures, Links, Prose, Table, write_page
from grokking.sweeps.axis import AXIS
from grokking.sweeps.curves import accuracy_figure, facets, loss_figure
from grokking.sweeps.figures import distribution_figure, scaling_figure, survival_figure
from grokking.sweeps.records import RunRecord, Sweep
from grokking.sweeps.tables import (
    HEADER,
    LEGEND,
    Summary,
    epoch_text,
    rows,
    scaling_line,
    session_lines,
    verdict_line,
)
from grokking.system.errors import RunError

PAGES = {
    names.ACCURACY_PLOT: f"Validation accuracy by {AXIS.name}",
    names.DISTRIBUTION_PLOT: f"Grok epochs by {AXIS.name}",
    names.COMBINED_PLOT: "Accuracy, loss, grok epochs and survival together",
}


def write_sweep_pages(sweep: Sweep, summary: Summary) -> Path:
    """Write all pages into the sweep's plots/; returns the index. RunError if the disk refuses."""
    plots = sweep.directory / names.PLOTS
    try:
        plots.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot create {plots}: {error.strerror}") from error
    runs = _runs_in_order(sweep)
    described = describe_experiment(
        [sweep.directory / run.directory for run in runs], [run.last_epoch for run in runs]
    )

    def write(name: str, title: str, blocks: Sequence[Block]) -> Path:
        whole = [*introduce(described), *blocks]
        return write_page(plots / name, f"{title}: {described.title}", whole, "shared")

    contents = [_accuracy_page(sweep), _distribution_page(sweep, summary), _combined_page(sweep)]
    for (name, title), blocks in zip(PAGES.items(), contents, strict=True):
        write(name, title, [*blocks, Links([(names.INDEX, "Back to the table")])])
    return write(names.INDEX, "Weight-decay sweep", _index(sweep, summary))


def _accuracy_page(sweep: Sweep) -> list[Block]:
    return [
        Figures([accuracy_figure(sweep)]),
        Prose(
            [f"The same, one panel per {sweep.axis.name}; grey: the runs of the others."],
            "One by one",
        ),
        *_in_rows(facets(sweep)),
    ]


def _in_rows(drawings: Sequence[Drawing], columns: int = 3) -> list[Block]:
    return [
        Figures(drawings[start : start + columns]) for start in range(0, len(drawings), columns)
    ]


def _distribution_page(sweep: Sweep, summary: Summary) -> list[Block]:
    drawings = [distribution_figure(sweep), survival_figure(sweep)]
    blocks: list[Block] = [Figures([drawing]) for drawing in drawings]
    if summary["delay_scaling"] is not None:
        blocks.append(Figures([scaling_figure(sweep, summary["delay_scaling"])]))
    if scaling_line(summary):
        blocks.append(Prose([scaling_line(summary)]))
    return blocks


def _combined_page(sweep: Sweep) -> list[Block]:
    return [
        Figures([accuracy_figure(sweep), loss_figure(sweep)]),
        Figures([distribution_figure(sweep), survival_figure(sweep)]),
    ]


def _index(sweep: Sweep, summary: Summary) -> list[Block]:
    cells = [_run_cells(run) for run in _runs_in_order(sweep)]
    counted = f"{summary['runs_read']} runs of {summary['sweep']}"
    blocks: list[Block] = [
        Prose([f"{counted}, {summary['runs_not_counted']} not counted.", *summary["warnings"]]),
        Prose(session_lines(summary)),
        Prose([verdict_line(verdict) for verdict in summary["verdicts"]], "Verdicts"),
        Table(f"Per {sweep.axis.name}", HEADER, rows(summary)),
        Prose([LEGEND, scaling_line(summary)] if scaling_line(summary) else [LEGEND]),
        Links(list(PAGES.items())),
        Figures([distribution_figure(sweep)]),
        Prose([], "Runs"),
        Table("Every run", list(cells[0]), [list(row.values()) for row in cells]),
        Links(_run_links(sweep)),
    ]
    if sweep.faults:
        faults = [[fault.directory, fault.fault] for fault in sweep.faults]
        blocks.append(Table("Not counted", ["folder", "fault"], faults))
    return blocks


def _run_cells(run: RunRecord) -> dict[str, str]:
    """Of the table of all runs: column -> text."""
    final = run.final_validation_accuracy
    return {
        "folder": run.directory,
        AXIS.name: str(getattr(run, AXIS.field)),
        "seed": str(run.seed),
        "epochs": f"{run.last_epoch:,}",
        "memorised": epoch_text(run.memorization_epoch),
        "outcome": run.outcome_in_words,
        "final validation": "-" if final is None else f"{final:.1%}",
    }


def _runs_in_order(sweep: Sweep) -> list[RunRecord]:
    return [run for runs in sweep.groups().values() for run in runs]


def _run_links(sweep: Sweep) -> list[tuple[str, str]]:
    """Each run's own pages, as far as they exist, relative to plots/."""
    pages = {f"{names.PICTURES}/{names.INDEX}": "pictures", names.REPORT: "report"}
    return [
        (quote(os.fsencode(f"../{run.directory}/{page}")), f"{run.directory}: {what}")
        for run in _runs_in_order(sweep)
        for page, what in pages.items()
        if os.path.exists(sweep.directory / run.directory / page)  # False where it may not look
    ]
