"""`grokking analyze` and scripts/analyze_weight_decay_sweep.py: the statistics of a sweep."""

from collections.abc import Sequence
from pathlib import Path

from grokking.commands.cli import Parser
from grokking.sweeps.analysis import analyze
from grokking.sweeps.tables import terminal_report


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report, write analysis_summary.json. Without arguments it is the script."""
    parser = Parser(
        prog="analyze_weight_decay_sweep.py" if arguments is None else "grokking analyze",
        description="Statistics and verdicts of a sweep; writes DIR/analysis_summary.json.",
        epilog="exit codes: 0 at least one run could be read, whatever the verdicts; 2 none could",
    )
    parser.add_argument(
        "directory", metavar="DIR", help="folder of a sweep, wd1.0_seed42/ and so on in it"
    )
    _, summary = analyze(Path(parser.parse_args(arguments).directory))
    print(terminal_report(summary))
    return 0
