"""One tool of compute-sanitizer over every kernel, and over a planted fault that it must report."""

import re
import subprocess
import sys
from pathlib import Path

from tools.gpu.parts.part import EXIT_MISSING, Missing, tool
from tools.gpu.parts.program import compiled
from tools.gpu.record import write_json

PROBLEMS = ("37,3,75,900,25", "129,2,40,300,7", "113,4,512,3830,32")  # P,HEADS,D_MLP,PAIRS,NEURONS
SUMMARY = re.compile(r"^=+ (?:ERROR|RACECHECK) SUMMARY: (\d+) ", re.MULTILINE)
FINISHED = "every call finished"  # kernels.cu's last line


def main(result: Path, name: str) -> None:
    program, sanitizer = compiled(result), tool("compute-sanitizer")
    command = [sanitizer, "--tool", name, "--error-exitcode", "9", str(program)]
    code, text = output([*command, "run", *PROBLEMS])
    errors = errors_in(text)
    write_json(result, {"errors": errors, "planted_fault_reported": None})
    check(name, code, text, errors)
    _, text = output([*command, "plant", name])
    write_json(result, {"errors": errors, "planted_fault_reported": bool(errors_in(text))})
    print(f"{name}: nothing found{'' if errors_in(text) else ', the planted fault neither'}")


def output(command: list[str]) -> tuple[int, str]:
    """(exit code, what was printed), which goes to the log as well."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode(errors="replace")
    print(text, flush=True)
    return done.returncode, text


def errors_in(text: str) -> int | None:
    """How many errors (of racecheck: hazards) the tool's summary counts; None without a summary."""
    summary = SUMMARY.search(text)
    return int(summary[1]) if summary else None


def check(name: str, code: int, text: str, errors: int | None) -> None:
    """Missing or SystemExit unless the tool watched the program to its end and found nothing."""
    if code == EXIT_MISSING:
        raise Missing("kernels.cu finds no GPU that it could run on")
    if errors is None:
        sys.exit(f"{name} printed no summary (exit code {code})")
    if errors:
        sys.exit(f"{name} reports {errors} errors")
    if code != 0 or FINISHED not in text:
        sys.exit(f"{name} counts no errors, but kernels.cu did not finish (exit code {code})")
