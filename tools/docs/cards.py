"""The report cards of several runs in one result file.

python -m tools.docs.cards docs/results/report_cards.json RUN_DIR...
"""

import sys
import time
from pathlib import Path
from typing import Any

from grokking.commands.cli import Parser, run_main
from grokking.commands.report import write_report
from grokking.files import names
from grokking.files.json_files import check_output, write_json
from grokking.schema import VERSION
from tools.docs.summaries import summarize_run


def cards(directories: list[Path]) -> dict[str, Any]:
    """One entry per finished run, by its folder's name: its summary (summaries.py), card and pages."""
    runs = []
    for directory in directories:
        began = time.perf_counter()
        record, _ = write_report(directory)
        seconds = round(time.perf_counter() - began, 1)
        pages = (
            page
            for page in (names.REPORT, names.FILM, names.GALLERY)
            if (directory / page).exists()
        )
        sizes = {page: (directory / page).stat().st_size for page in pages}
        written = {"seconds": seconds, "bytes": sizes}
        named = {"name": directory.resolve().name, **summarize_run(directory)}
        runs.append({**named, "card": record, "pages": written})
        print(f"{directory}: {record['passed']} rows pass, {record['failed']} fail", flush=True)
    return {"schema_version": VERSION, "runs": runs}


def main() -> int:
    """Report on every run and write all cards into one JSON file."""
    parser = Parser(
        prog="python -m tools.docs.cards",
        description="Report cards of several runs, as one JSON file.",
    )
    parser.add_argument("output", type=Path, metavar="OUT.json")
    parser.add_argument("run", nargs="+", type=Path, help="folder of a finished run")
    arguments = parser.parse_args()
    check_output(arguments.output)
    write_json(arguments.output, cards(arguments.run))
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
