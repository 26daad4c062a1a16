"""Markdown for docs and reports. Standard library only."""

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, with a final newline."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def plain(text: object) -> str:
    """Anything as words of one cell: no line breaks, no bars, no tags or comments of its own."""
    words = " ".join(str(text).split())
    return words.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
