"""`python -m grokking report RUN_DIR`: what a run has learned, held against the paper's figures.

Torch-free until the run's folder has been checked.
"""

import os
import textwrap
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from grokking.analysis import progress_measures
from grokking.analysis.judging import FAIL, NOT_YET, PASS, Findings, Row
from grokking.analysis.report_card import judge_run
from grokking.commands.cli import Parser
from grokking.config import NEURON_LIST, departures, load
from grokking.files import names
from grokking.files.branches import other_arm
from grokking.files.continuation import command_to_go_on
from grokking.files.history import read_history
from grokking.files.json_files import check_writable, write_json
from grokking.files.run_files import read_config, read_imported
from grokking.pictures.experiment import imported_told
from grokking.pictures.introduction import run_described
from grokking.pictures.pages.film import write_film_page
from grokking.pictures.pages.gallery import write_gallery_page
from grokking.pictures.pages.report import Story, write_report_page
from grokking.schema import VERSION
from grokking.system.errors import UserError

DESCRIPTION = (
    "Tell the story of a run and hold it against the figures of Nanda et al. (2023): prints the "
    "report card and writes report.html, film.html, gallery.html, report_card.json, "
    "progress_measures.json and the phases' labelled checkpoints."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Report on one run folder; UserError if it holds nothing that can be reported on."""
    parser = Parser(prog="grokking report", description=DESCRIPTION)
    parser.add_argument(
        "run", type=Path, metavar="RUN_DIR", help="folder of a run, finished or not"
    )
    parser.add_argument(
        "--neurons",
        type=neuron_list,
        default=[],
        metavar="LIST",
        help="neurons of the film, 408,251 [the best one of each key frequency]",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        help="folder for all that is written, made if need be [the run's own]",
    )
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="states examined at a time [GROK_THREADS, or all cores]",
    )
    parser.add_argument("--brief", action="store_true", help="print one line per row")
    options = parser.parse_args(arguments)
    if options.threads is not None and options.threads < 1:
        raise UserError(f"--threads is {options.threads}, expected an integer >= 1")
    directory: Path = options.run
    config = load(os.environ, strict=False).config
    output: Path = options.output or directory
    check_output_folder(output, directory)
    threads = options.threads or config.threads
    record, rows = write_report(directory, options.neurons, threads, config.kernel, output)
    text = brief_text if options.brief else card_text
    print(text(record, rows, directory))
    print(f"written: {output / names.CARD}")
    print(f"open {output / names.REPORT}")
    return 0


def check_output_folder(output: Path, directory: Path) -> None:
    """UserError for a file, or for the folder of another run, whose report this would replace."""
    if output.exists() and not output.is_dir():
        raise UserError(f"--output is {output}, which is a file, expected a folder")
    if (output / names.CONFIG).exists() and output.resolve() != directory.resolve():
        raise UserError(
            f"--output is {output}, which holds another run; choose another folder for the report"
        )


def neuron_list(text: str) -> list[int]:
    """Indices separated by commas, each once; ArgumentTypeError for anything else."""
    indices = NEURON_LIST.parse(text)
    if not isinstance(indices, tuple):
        raise ArgumentTypeError(f"{text!r}, expected indices separated by commas (408,251)")
    return list(indices)


def write_report(
    directory: Path,
    neurons: Sequence[int] = (),
    threads: int | None = None,
    kernel: str = "auto",
    output: Path | None = None,
) -> tuple[dict[str, Any], list[Row]]:
    """Write every file of the report into `output`, the run's own folder unless another is named.

    Returns (content of report_card.json, its rows). RunError, before anything is computed, if
    nothing can be written there.
    """
    output = output or directory
    config = read_config(directory)
    check_writable(output, "--output DIR puts the report elsewhere")
    from grokking.analysis.investigation import investigate, phases_so_far, save_phases

    findings, measures, scenes = investigate(directory, neurons, threads, kernel)
    rows = judge_run(findings)
    record = card_record(config, read_imported(directory), findings, rows)
    output.mkdir(parents=True, exist_ok=True)
    if findings.phases is not None:
        save_phases(directory, findings.phases, output)
    write_json(output / names.CARD, record)
    if measures is not None:
        progress_measures.write(output, measures)
    has_history = (directory / names.ACCURACIES).exists()
    history, detected = read_history(directory) if has_history else None, phases_so_far(directory)
    finished = (directory / names.RESULT).exists()
    described = run_described(directory, record["epoch"], history, asdict(detected), finished)
    if scenes.film is None:
        (output / names.FILM).unlink(missing_ok=True)
    else:
        write_film_page(output / names.FILM, described, scenes.film)
    write_gallery_page(output / names.GALLERY, described, scenes.gallery)
    story = Story(
        described,
        history,
        asdict(detected),
        measures,
        findings.phases,
        "" if findings.controls is None else findings.controls.key_count.told,
        scenes,
        rows,
        links(output),
        outlook(record, directory, "."),
        None if history is None else other_arm(directory, history),
    )
    write_report_page(output / names.REPORT, story)
    return record, rows


def links(directory: Path) -> list[tuple[str, str]]:
    """The run's other pages, as far as they are in the folder of the report."""
    pages = {
        names.FILM: "The film: neurons from the first epoch to the last",
        names.GALLERY: "The gallery: all neurons",
        f"{names.PICTURES}/{names.INDEX}": "The exported neurons",
    }
    return [(page, what) for page, what in pages.items() if (directory / page).exists()]


def card_record(
    config: dict[str, Any],
    imported: dict[str, Any] | None,
    findings: Findings,
    rows: Sequence[Row],
) -> dict[str, Any]:
    """The content of report_card.json."""
    counts = Counter(row.verdict for row in rows)
    return {
        "schema_version": VERSION,
        "epoch": findings.epoch,
        "seed": config["seed"],
        "weight_decay": config["weight_decay"],
        "departures": departures(config),
        "imported": imported,
        "task": findings.task.name,
        "key_frequencies": findings.key_labels,
        "phases": None if findings.phases is None else asdict(findings.phases),
        "outcome": findings.outcome,
        "passed": counts[PASS],
        "failed": counts[FAIL],
        "not_yet": counts[NOT_YET],
        "go_on_to": findings.next_epoch if counts[NOT_YET] else None,
        "rows": [_row_record(row) for row in rows],
    }


def _row_record(row: Row) -> dict[str, Any]:
    control = None if row.control is None else row.control.record()
    return {**asdict(row), "passed": row.passed, "control": control}


def headline(record: dict[str, Any]) -> str:
    """What the card comes to, in a sentence."""
    judged = record["passed"] + record["failed"]
    of = "imported weights"
    if not record["imported"]:
        of = f"seed {record['seed']}, weight decay {record['weight_decay']:g}"
    words = [f"{record['passed']} of {judged} rows pass" if judged else "no row is judged"]
    if record["not_yet"]:
        words.append(f"{record['not_yet']} not yet")
    return f"Report card at epoch {record['epoch']:,}: {of}, {', '.join(words)}"


def outlook(record: dict[str, Any], directory: Path, named: str) -> list[str]:
    """In what the run departs from the paper's, and how to take it further where that may decide.

    `named` is what the command calls the run's folder: a page does not know where it will be read.
    """
    lines = [] if record["imported"] is None else imported_told(record["imported"])
    if record["departures"]:
        departures_in_words = ", ".join(
            f"{name} {value}" for name, value in record["departures"].items()
        )
        lines.append(f"This run departs from the paper's experiment: {departures_in_words}.")
    if record["go_on_to"] is not None:
        command = command_to_go_on(directory, record["go_on_to"], named)
        where = "" if named != "." else ", in the run's folder"
        lines.append(f"NOT YET: more epochs may decide. Go on with{where}: {command}")
    return lines


def brief_text(record: dict[str, Any], rows: Sequence[Row], directory: Path) -> str:
    """The card without tolerances and definitions."""
    lines = [f"  {row.verdict:<10}  {row.what}: {row.run}{_why(row)}" for row in rows]
    return "\n".join([headline(record), *outlook(record, directory, str(directory)), *lines])


def _why(row: Row) -> str:
    return f" ({row.reason})" if row.reason else ""


def card_text(record: dict[str, Any], rows: Sequence[Row], directory: Path) -> str:
    """The card for a terminal."""
    lines = [headline(record), *outlook(record, directory, str(directory))]
    for row in rows:
        lines += ["", f"{row.verdict}: {row.what}{_why(row)}"]
        cells = {"paper": row.paper, "this run": row.run, "accepted": row.accepted}
        if row.control is not None:
            cells["control"] = row.control.told
        for name, text in {**cells, "measured as": row.definition}.items():
            lines += textwrap.wrap(
                f"{name:<12} {text}", 100, initial_indent="  ", subsequent_indent=" " * 15
            )
    return "\n".join([*lines, ""])
