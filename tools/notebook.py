"""docs/notebook.ipynb of docs/notebook.py: python -m tools.notebook

The source is Python in the percent format of Jupytext: a cell begins with `# %%`, text with `# %% [markdown]`,
and `tags=["parameters"]` marks what a reader (or Papermill, or a test) may set. Outputs are never kept.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from grokking.commands.cli import Parser, run_main

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "docs" / "notebook.py"
NOTEBOOK = SOURCE.with_suffix(".ipynb")

_MARK = re.compile(r"^# %%(?P<text> \[markdown\])?(?: tags=(?P<tags>\[.*\]))?\n", re.MULTILINE)


def cells(source: str) -> list[dict[str, Any]]:
    """The cells of a source, as a notebook has them."""
    marks = [*_MARK.finditer(source)]
    ends = [mark.start() for mark in marks[1:]] + [len(source)]
    return [
        cell(mark, source[mark.end() : end].strip("\n"))
        for mark, end in zip(marks, ends, strict=True)
    ]


def cell(mark: re.Match[str], body: str) -> dict[str, Any]:
    """One cell under its mark."""
    metadata = {"tags": json.loads(mark["tags"])} if mark["tags"] else {}
    if mark["text"]:
        text = re.sub(r"^# ?", "", body, flags=re.MULTILINE)
        return {"cell_type": "markdown", "metadata": metadata, "source": lines(text)}
    code: dict[str, Any] = {"cell_type": "code", "execution_count": None, "metadata": metadata}
    return {**code, "outputs": [], "source": lines(body)}


def lines(text: str) -> list[str]:
    """The lines of a text, each with its end."""
    return text.splitlines(keepends=True)


def notebook(source: str) -> str:
    """The whole notebook, as JSON."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    whole = {"cells": cells(source), "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the notebook."""
    Parser(prog="python -m tools.notebook", description=(__doc__ or "").split(":")[0]).parse_args()
    NOTEBOOK.write_text(notebook(SOURCE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
