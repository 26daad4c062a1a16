"""Commands called in this process, as the shell would call them, and how they ended."""

import contextlib
import io
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from grokking.commands.cli import run_main


class Called(NamedTuple):
    """Exit code (None: an exception came through) and what was printed."""

    code: int | None
    out: str
    errors: str

    def faults(self, *codes: int) -> Iterator[str]:
        """What is wrong with the way it ended, if it may end with these codes: one line for an error."""
        lines = self.errors.splitlines()
        if self.code not in codes or "Traceback" in self.errors:
            yield f"exit code {self.code}, expected {codes}: {self.errors[-500:]!r}"
        elif self.code in (1, 2) and (len(lines) != 1 or not lines[0].startswith("error: ")):
            yield f"exit code {self.code} without its one line: {lines[:3]}"


def called(main: Callable[[], int | None], *arguments: str | Path) -> Called:
    """`script ARGUMENTS`, whose `main` reads them from sys.argv."""
    out, errors, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["script", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code: int | None = run_main(main)
    except BaseException:
        code = None
        errors.write(traceback.format_exc())
    finally:
        sys.argv = before
    return Called(code, out.getvalue(), errors.getvalue())
