"""How commands end: one line on stderr and the right exit code."""

import shlex
import subprocess
import sys

import pytest
import torch

from grokking.commands.cli import Parser, run_main
from grokking.system.errors import RunError, UserError
from tests.support.environment import ROOT, clean_environment


def failing(error: BaseException) -> object:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("GROK_SEED is x\n  expected an integer"), 2, "error: GROK_SEED is x expected"),
        (RunError("loss became NaN"), 1, "error: loss became NaN"),
        (PermissionError(13, "Permission denied", "a.html"), 1, "Permission denied: 'a.html'"),
        (MemoryError(), 1, "error: out of memory"),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to"),
            1,
            "error: GPU out of memory: close",
        ),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (ModuleNotFoundError("no", name="torch"), 2, "error: torch is missing from "),
    ],
)
def test_an_error_is_one_line_and_its_exit_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    assert run_main(failing(error)) == code  # type: ignore[arg-type]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert line in captured.err
    assert captured.err.count("\n") == 1


def test_a_bug_is_not_dressed_up_as_a_user_error() -> None:
    with pytest.raises(ZeroDivisionError):
        run_main(failing(ZeroDivisionError()))  # type: ignore[arg-type]
    with pytest.raises(RuntimeError):
        run_main(failing(RuntimeError("a shape does not fit")))  # type: ignore[arg-type]
    with pytest.raises(ModuleNotFoundError):
        run_main(failing(ModuleNotFoundError("no", name="grokking.nonesuch")))  # type: ignore[arg-type]


def test_success_is_zero_and_a_code_is_passed_on() -> None:
    assert run_main(lambda: None) == 0
    assert run_main(lambda: 1) == 1


def test_a_parser_error_is_a_user_error_of_one_line() -> None:
    parser = Parser(prog="draw.py")
    parser.add_argument("file")
    with pytest.raises(UserError, match=r"required: file \(see draw.py --help\)"):
        parser.parse_args([])


@pytest.mark.parametrize("redirection", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_fault(redirection: str) -> None:
    command = f"{shlex.quote(sys.executable)} -m grokking --version {redirection}"
    assert subprocess.run(["bash", "-c", command], cwd=ROOT).returncode == 0


def test_a_name_that_stdout_cannot_encode_is_written_all_the_same() -> None:
    program = (
        "from grokking.commands.cli import run_main; run_main(lambda: print('caf\\u00e9 \\udcff'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=clean_environment(PYTHONIOENCODING="ascii:strict"),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "caf\\xe9 \\udcff\n")
