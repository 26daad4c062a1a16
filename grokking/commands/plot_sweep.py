"""`grokking plot` and scripts/plot_sweep_comparison.py: the pages of a sweep."""

from collections.abc import Sequence
from pathlib import Path

from grokking.commands.cli import Parser
from grokking.sweeps.analysis import analyze
from grokking.sweeps.pages import write_sweep_pages
from grokking.sweeps.tables import problem_lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Analyse the sweep anew and draw its pages. Without arguments it is the script."""
    parser = Parser(
        prog="plot_sweep_comparison.py" if arguments is None else "grokking plot",
        description="Draw a sweep: writes pages into DIR/plots/, index.html first to open.",
        epilog="exit codes: 0 done; 1 the disk refused; 2 not a single run could be read",
    )
    parser.add_argument(
        "directory", metavar="DIR", help="folder of a sweep, wd1.0_seed42/ and so on in it"
    )
    sweep, summary = analyze(Path(parser.parse_args(arguments).directory))
    for line in problem_lines(summary):
        print(line)
    print(f"open {write_sweep_pages(sweep, summary)}")
    return 0
