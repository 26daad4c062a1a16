"""What every command shares: how it ends, and errors of one line."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from grokking.config import Loaded, load
from grokking.system.errors import RunError, UserError
from grokking.system.failure import tell
from grokking.system.foreign_names import warning

PACKAGES = ("torch", "numpy", "plotly", "threadpoolctl", "tqdm")  # that a command may need
INSTALL = (
    "run ./scripts/quickstart.sh once and use its .venv/bin/python, or in an environment of your own: "
    "pip install -e ."
)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, not a page of usage.

    Whatever a command makes of them, wrong GROK_ variables are as wrong for it as for a run.
    """

    together = True  # are variables that cannot be together wrong, too?

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        options = super().parse_args(args, namespace)
        environment(strict=False, together=self.together)
        return options

    def parse_intermixed_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        """Words and options in any order."""
        options = super().parse_intermixed_args(args, namespace)
        environment(strict=False)
        return options


def environment(strict: bool, together: bool = True) -> Loaded:
    """The GROK_ variables of this process, with a line on stderr for those that are not ours."""
    loaded = load(os.environ, strict, together)
    if loaded.unknown:
        print(warning(loaded.unknown), file=sys.stderr)
    return loaded


class Messages(logging.Handler):
    """What lower rooms have to say: to stdout, warnings to stderr, as plain lines."""

    def emit(self, record: logging.LogRecord) -> None:
        stream = sys.stdout if record.levelno < logging.WARNING else sys.stderr
        print(record.getMessage(), file=stream, flush=True)


@contextmanager
def messages_shown() -> Iterator[None]:
    """Show them within the block, once."""
    log, handler = logging.getLogger("grokking"), Messages()
    level = log.level
    if any(isinstance(other, Messages) for other in log.handlers):
        yield
        return
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def run_main(main: Callable[[], int | None]) -> int:
    """Call `main` and return its exit code.

    None counts as 0. UserError and a package that is not installed give 2, RunError, a failed
    input or output and too little memory 1, each with one line on stderr; an interrupt gives 130, a
    reader of stdout that went away 141.
    """
    _prepare_streams()
    try:
        with messages_shown():
            code = main() or 0
        sys.stdout.flush()
        return code
    except (UserError, RunError) as error:
        return _complain(str(error), error.exit_code)
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        return _complain(f"{error.name} is missing from {sys.executable}; {INSTALL}", 2)
    except KeyboardInterrupt:
        return _complain("interrupted", 128 + signal.SIGINT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at exit
        return 128 + signal.SIGPIPE
    except OSError as error:
        return _complain(str(error), RunError.exit_code)
    except MemoryError:
        return _complain("out of memory", RunError.exit_code)
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported here
            raise
        cure = "close other programs that use it, or set GROK_DEVICE=cpu"
        return _complain(f"GPU out of memory: {cure}", RunError.exit_code)


def _prepare_streams() -> None:
    """Let stdout and stderr be there, where they were closed, and take names that are not UTF-8."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _complain(message: str, code: int) -> int:
    """Print one line, whatever a file name or a message holds."""
    line = " ".join(message.split())
    print(f"error: {line}", file=sys.stderr)
    tell(line, code)
    return code
