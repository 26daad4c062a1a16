"""scripts/sweep_table.py: the table of an analysed sweep as Markdown."""

from pathlib import Path

from grokking.commands.cli import Parser
from grokking.files import names
from grokking.files.json_files import atomic_write_text, read_json
from grokking.sweeps.tables import markdown_report
from grokking.system.errors import UserError


def main() -> int:
    """Print it or write it."""
    parser = Parser(
        prog="sweep_table.py",
        description="Markdown table and verdicts of a sweep, from its analysis_summary.json.",
        epilog="exit codes: 0 done; 1 the disk refused; 2 there is no summary to read",
    )
    parser.add_argument(
        "summary", metavar="DIR", help="analysed sweep's folder, or the summary itself"
    )
    parser.add_argument("output", metavar="OUT.md", nargs="?", help="file to write [stdout]")
    options = parser.parse_args()
    path_named = Path(options.summary)
    path = path_named / names.SUMMARY if path_named.is_dir() else path_named
    try:
        text = markdown_report(read_json(path))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: not the summary of a sweep ({error!r}); make it with analyze_weight_decay_sweep.py"
        ) from error
    if options.output is None:
        print(text, end="")
    else:
        atomic_write_text(Path(options.output), text)
    return 0
