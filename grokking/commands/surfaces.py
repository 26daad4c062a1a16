"""One exported surface: `grokking visualize` and `scripts/visualize_activation_surface.py`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from grokking.commands.cli import Parser
from grokking.files import names
from grokking.files.json_files import check_input, check_output
from grokking.files.run_files import read_config
from grokking.files.surfaces import Surface, read_surface
from grokking.laws import FILE
from grokking.pictures.experiment import Experiment, describe_experiment
from grokking.pictures.pages.surfaces import surface_facts, write_combined_page, write_surface_page
from grokking.pictures.surface_views import surface_title
from grokking.system.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Print a surface's statistics and write its two pages; UserError for any bad input.

    Without arguments it is the script.
    """
    script = "visualize_activation_surface.py"
    arguments = _parser(script if argv is None else "grokking visualize").parse_args(argv)
    source: Path = arguments.surface
    check_input(source)
    single = arguments.output or source.with_suffix(".html")
    check_output(single, source)
    combined = single.with_name(f"{single.stem}_combined{single.suffix}")
    check_output(combined, source)
    surface = read_surface(source)
    described = run_beside(source, surface)
    write_surface_page(single, surface, "inline", described)
    write_combined_page(combined, surface, "inline", described)

    print(surface_title(surface))
    for name, value in surface_facts(surface):
        print(f"  {name:36} {value}")
    print(f"3-D surface:            {single}")
    print(f"3-D surface + heatmaps: {combined}")
    return 0


def run_beside(source: Path, surface: Surface) -> Experiment | None:
    """The run whose config.json lies beside a surface; None, said on stderr, if it is not the surface's."""
    config = source.parent / names.CONFIG
    if surface.epoch is None or not config.is_file():
        return None
    try:
        values = read_config(source.parent)
        for name, own in (("modulus", surface.modulus), ("task", surface.task)):
            both_tables = all(str(value).startswith(FILE) for value in (own, values[name]))
            if values[name] != own and not both_tables:
                raise UserError(
                    f"{config}: its {name} is {values[name]}, that of the surface {own}"
                )
        return describe_experiment([source.parent], [surface.epoch])
    except UserError as error:
        print(f"the pages do not say what was trained: {error}", file=sys.stderr)
        return None


def _parser(program: str) -> Parser:
    parser = Parser(
        prog=program,
        description="Draw an exported activation surface as two standalone HTML pages, OUT.html "
        "(3-D) and OUT_combined.html (3-D and heatmaps), and print its periodicity.",
    )
    parser.add_argument(
        "surface",
        type=Path,
        metavar="SURFACE.json",
        help="activation_surface_neuron_{i}.json of a run",
    )
    parser.add_argument(
        "output",
        type=Path,
        nargs="?",
        metavar="OUT.html",
        help="page to write (default: beside SURFACE.json, with its name)",
    )
    return parser
