"""Why a command failed, as a small JSON record for the process that started it.

That process names the file in the command's environment.
"""

import json
import os
from contextlib import suppress
from pathlib import Path

_VARIABLE = "GROKKING_FAILURE_FILE"


def ask(path: Path) -> dict[str, str]:
    """The variable that asks a command to leave its record there; one that lies there is removed."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
    return {_VARIABLE: str(path)}


def tell(message: str, exit_code: int) -> None:
    """Leave the record, if anybody asked for it."""
    path = os.environ.get(_VARIABLE)
    if path:
        with suppress(OSError):  # the exit code still tells that it failed
            Path(path).write_text(json.dumps({"exit_code": exit_code, "message": message}))


def told(path: Path, exit_code: int) -> str:
    """The message of the command's record; its exit code in words where it left none, as if killed."""
    try:
        return str(json.loads(path.read_text())["message"])
    except (OSError, ValueError, LookupError, TypeError):
        return f"exit code {exit_code}"
