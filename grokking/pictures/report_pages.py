"""report.html: a run's report card and its progress measures on one page that stands alone."""

from collections.abc import Sequence
from pathlib import Path

from grokking.analysis.phases import Phases
from grokking.analysis.progress_measures import ProgressMeasures
from grokking.analysis.report_card import Row
from grokking.pictures.pages import Block, Figures, Prose, Table, write_page
from grokking.pictures.progress_figures import progress_figure


def write_report_page(
    path: Path,
    title: str,
    rows: Sequence[Row],
    measures: ProgressMeasures | None,
    phases: Phases | None,
) -> Path:
    """Write the page; without measures it holds the card alone."""
    header = ("verdict", "what", "paper", "this run", "accepted")
    cells = [(row.verdict, row.what, row.paper, row.run, row.accepted) for row in rows]
    blocks: list[Block] = [Table("This run beside Nanda et al. (2023)", header, cells)]
    if measures is not None and phases is not None:
        blocks.insert(0, Figures([progress_figure(measures, phases)]))
    definitions = [f"{row.what}: {row.definition}." for row in rows]
    return write_page(path, title, [*blocks, Prose(definitions, heading="Definitions")], "inline")
