"""task.json: the table of GROK_TASK=file:PATH as the run, or the sweep, in a folder keeps it. Torch-free."""

from pathlib import Path

from grokking.files import names
from grokking.laws import Table, read_table
from grokking.system.errors import RunError


def read_copy(directory: Path) -> Table:
    """UserError in one line for a copy that is missing or damaged."""
    path = directory / names.TASK
    return read_table(path, f"{path}, the copy of a table")


def write_copy(directory: Path, table: Table, name: str = names.TASK) -> None:
    """The bytes of the file, as it was read. RunError if the disk refuses."""
    from grokking.files.json_files import atomic_write

    try:
        directory.mkdir(exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot create {directory}: {error.strerror}") from error
    atomic_write(directory / name, lambda file: file.write(table.content))
