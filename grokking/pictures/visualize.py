"""Draw one exported activation surface: `scripts/visualize_activation_surface.py`."""

from collections.abc import Sequence
from pathlib import Path

from grokking.analysis.fourier import strongest_wave
from grokking.artifacts import read_surface
from grokking.cli import Parser
from grokking.errors import UserError
from grokking.pictures.surface_pages import surface_facts, write_combined_page, write_surface_page
from grokking.pictures.surface_views import surface_title


def main(argv: Sequence[str] | None = None) -> None:
    """Print a surface's statistics and write its two pages; UserError for any bad input."""
    arguments = _parser().parse_args(argv)
    source: Path = arguments.surface
    single = arguments.output or source.with_suffix(".html")
    combined = single.with_name(f"{single.stem}_combined{single.suffix}")
    surface = read_surface(source)
    for path in (single, combined):
        _check_output(path, source)
    write_surface_page(single, surface, "inline")
    write_combined_page(combined, surface, "inline")

    print(surface_title(surface, strongest_wave(surface.values)))
    for name, value in surface_facts(surface):
        print(f"  {name:36} {value}")
    print(f"3-D surface:            {single}")
    print(f"3-D surface + heatmaps: {combined}")


def _parser() -> Parser:
    parser = Parser(
        prog="visualize_activation_surface.py",
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


def _check_output(path: Path, source: Path) -> None:
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.is_dir():
        raise UserError(f"{path} is a folder, expected the name of a page to write")
    if path.exists() and path.samefile(source):
        raise UserError(f"{path} is the surface itself, expected another file to write")
