"""task.json: the table of GROK_TASK=file:PATH as the run, or the sweep, in a folder keeps it. Torch-free."""

from pathlib import Path

from grokking.files import names
from grokking.laws import Table, read_table


def read_copy(directory: Path) -> Table:
    """UserError in one line for a copy that is missing or damaged."""
    path = directory / names.TASK
    return read_table(path, f"{path}, the copy of a table")


def write_copy(directory: Path, table: Table) -> None:
    """The bytes of the file, as it was read."""
    from grokking.files.json_files import atomic_write

    atomic_write(directory / names.TASK, lambda file: file.write(table.content))
