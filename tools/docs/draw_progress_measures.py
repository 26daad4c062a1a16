"""A reported run as a PNG for the docs.

    python -m tools.docs.draw_progress_measures RUN_DIR OUT.png

Needs Chromium, by way of the tests' own driver, because plotly cannot draw without a browser.
"""

import sys
import tempfile
from pathlib import Path

from grokking.analysis import progress_measures
from grokking.analysis.phases import find_phases
from grokking.commands.cli import Parser, run_main
from grokking.files.run_files import read_task
from grokking.pictures.figures.progress import progress_figure
from grokking.pictures.pages.page import Figures, write_page
from tests.support.browser import Chromium


def main() -> None:
    parser = Parser(
        prog="python -m tools.docs.draw_progress_measures",
        description="Progress measures as a PNG.",
    )
    parser.add_argument("run", type=Path, help="folder of a run that `grokking report` has seen")
    parser.add_argument("output", type=Path, metavar="OUT.png")
    arguments = parser.parse_args()
    measures = progress_measures.read(arguments.run)
    drawing = progress_figure(measures, find_phases(measures), read_task(arguments.run))
    with tempfile.TemporaryDirectory() as folder, Chromium() as chromium:
        path = Path(folder) / "page.html"
        write_page(path, "Progress measures", [Figures([drawing])], "inline")
        with chromium.open(path, width=1000, height=1200) as page:
            page.settle()
            page.evaluate("document.querySelector('.modebar-container').remove()")
            area = page.evaluate(
                "(box => ({x: box.x, y: box.y, width: box.width, height: box.height}))"
                "(document.querySelector('.plot').getBoundingClientRect())"
            )
            png = page.screenshot(clip=area)
    arguments.output.write_bytes(png)


if __name__ == "__main__":
    sys.exit(run_main(main))
