"""The package's errors as Python's own, in Python's words: arguments instead of variables."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from grokking.config import FIELDS
from grokking.system.errors import RunError, UserError

ARGUMENTS = {
    "artifacts_dir": "folder"
}  # a Config field -> what `train` calls it, where that differs
_OPTIONS = {"--inexact": "exact=False", "--at": "at", "--output": "folder"}  # of `grokking branch`
_VARIABLE = re.compile(r"GROK_([A-Z0-9_]+)(?:=(\S*[^\s,;.]))?")


@contextmanager
def python_errors() -> Iterator[None]:
    """ValueError for what the caller did wrong, RuntimeError for what failed."""
    try:
        yield
    except UserError as error:
        raise ValueError(in_python(str(error))) from error
    except RunError as error:
        raise RuntimeError(in_python(str(error))) from error


def in_python(message: str) -> str:
    """`GROK_SEED is 7` as `seed is 7`, `GROK_RESUME=1` as `resume=True`."""

    def argument(found: re.Match[str]) -> str:
        name, value = found[1].lower(), found[2]
        if name not in FIELDS:
            return found[0]
        name = ARGUMENTS.get(name, name)
        if value is None:
            return name
        on = value == "1" and isinstance(FIELDS.get(name, FIELDS["seed"]).default, bool)
        return f"{name}={'True' if on else value}"

    for option, name in _OPTIONS.items():
        message = message.replace(option, name)
    return _VARIABLE.sub(argument, message)


def not_yet(what: str, issue: str) -> NotImplementedError:
    """For what DESIGN promises and a later issue brings."""
    return NotImplementedError(f"{what} comes with {issue!r}")
