"""Python programs as forks of one process that has imported what is slow to import.

An interpreter of its own spends seconds on importing torch for a run that takes a moment. A fork prints,
ends and leaves the same, as long as it is asked nothing that an interpreter decides when it starts.
"""

import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import IO

# What may differ between a fork and its server. Other variables, libraries and Python itself read at once.
MAY_DIFFER = ("GROK", "PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "TMPDIR")
SEARCHED = [path for path in sys.path if path]  # in the server: what every interpreter searches


def server() -> ForkServerContext:
    """Processes of this context are such forks. Of grokking itself their server has imported nothing."""
    os.environ.setdefault(
        "OPENBLAS_NUM_THREADS", "1"
    )  # as every command does: a fork has one thread
    context = get_context("forkserver")
    context.set_forkserver_preload(["torch._dynamo", "plotly.graph_objects", __name__])
    return context


def python(
    *arguments: object, cwd: Path, env: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    """`python ARGUMENTS`, which are a script or -m and a module, and theirs."""
    words = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory(prefix="warm") as folder:
        output, errors = Path(folder) / "stdout", Path(folder) / "stderr"
        process = _start(words, cwd, env, output, errors)
        try:
            process.join()
        finally:
            process.kill()  # when a time limit ended the wait
        assert process.exitcode is not None
        said = (path.read_text() if path.exists() else "" for path in (output, errors))
        return subprocess.CompletedProcess(words, process.exitcode, *said)


class Popen:
    """As much of subprocess.Popen as a sweep uses, for a Python program with one file for all it says."""

    def __init__(
        self, command: list[str], *, env: Mapping[str, str], stdout: IO[bytes], **_: object
    ) -> None:
        told = Path(stdout.name).resolve()
        self._process = _start(command[1:], Path.cwd(), env, told, told)
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        return self._process.exitcode

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode


def _start(
    words: list[str], folder: Path, env: Mapping[str, str], output: Path, errors: Path
) -> ForkServerProcess:
    changed = [name for name in {*os.environ, *env} if os.environ.get(name) != env.get(name)]
    early = [name for name in changed if not name.startswith(MAY_DIFFER)]
    assert not early, f"{early} must be there when an interpreter starts: use subprocess"
    arguments = (words, folder, dict(env), output, errors)
    process = server().Process(target=_become, args=arguments, daemon=True)
    process.start()
    return process


def _become(
    words: list[str], folder: Path, variables: dict[str, str], output: Path, errors: Path
) -> None:
    """Be the program that a new interpreter would be."""
    for number, path in ((1, output), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(variables)
    sys.dont_write_bytecode = bool(variables.get("PYTHONDONTWRITEBYTECODE"))
    os.chdir(folder)
    first, *rest = words
    asked = [path for path in variables.get("PYTHONPATH", "").split(os.pathsep) if path]
    place = folder if first == "-m" else Path(first).resolve().parent
    sys.path[:] = [str(place), *asked, *SEARCHED]  # of which multiprocessing makes the tests' own
    if first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(first, run_name="__main__")
