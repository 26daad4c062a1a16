"""Compile the CUDA kernels for every architecture nvcc offers, strictly, and print what they use.

    python -m tools.gpu.resources docs/results/registers.json     and then python -m tools.docs.tables

Warnings and register spills are errors here, and only here: a user's install never fails for one.
Needs nvcc, no GPU.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

import build_cuda
from grokking.commands.cli import Parser, run_main
from grokking.files import markdown
from grokking.files.json_files import check_output, write_json
from grokking.schema import VERSION
from grokking.system.errors import UserError
from tools.gpu.record import ROOT

STRICT = [
    "-Werror", "all-warnings", "-Xptxas", "-v,--warn-on-spills,--warn-on-local-memory-usage,-Werror",
    "--compiler-options", "-Wall,-Wextra,-Werror",
]  # fmt: skip


class Use(NamedTuple):
    """What one kernel uses on one architecture, from the assembler's report."""

    kernel: str
    architecture: int
    registers: int
    stack: int  # bytes
    spills: int  # bytes stored and loaded


def compile_strictly(toolkit: build_cuda.Toolkit) -> str:
    """ptxas' report for every architecture; SystemExit with the compiler's words if it complains."""
    codes = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in toolkit.architectures]
    command: list[str | Path] = [toolkit.nvcc, *build_cuda.FLAGS, *STRICT, *codes, "--threads", "0"]
    command += ["-c", ROOT / "csrc" / "grid_cuda.cu", "-o", "/dev/null"]
    done = build_cuda.output_of(command)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}nvcc refused the kernels under strict warnings")
    return done.stdout + done.stderr


def parse(report: str) -> list[Use]:
    """One Use for each kernel and architecture that ptxas reports on."""
    pattern = re.compile(
        r"Compiling entry function '(?P<symbol>\S+)' for 'sm_(?P<architecture>\d+)'.*?"
        r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
        r"(?P<loads>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers",
        re.DOTALL,
    )
    return [
        Use(
            plain_name(found["symbol"]),
            int(found["architecture"]),
            int(found["registers"]),
            int(found["stack"]),
            int(found["stores"]) + int(found["loads"]),
        )
        for found in pattern.finditer(report)
    ]


def plain_name(symbol: str) -> str:
    """attend of _ZN4grid4cuda6attendENS0_5Sizes...: the last part of a nested name."""
    rest, name = symbol.removeprefix("_ZN"), symbol
    while length := re.match(r"\d+", rest):
        end = length.end() + int(length[0])
        name, rest = rest[length.end() : end], rest[end:]
    return name


def table(uses: list[Use]) -> str:
    """Registers a thread by kernel and architecture, in Markdown."""
    architectures = sorted({use.architecture for use in uses})
    registers = {(use.kernel, use.architecture): use.registers for use in uses}
    rows = [
        [f"`{kernel}`", *(str(registers.get((kernel, a), "-")) for a in architectures)]
        for kernel in sorted({use.kernel for use in uses})
    ]
    stack, spills = sum(use.stack for use in uses), sum(use.spills for use in uses)
    told = f"Spilled: {spills} bytes; stack: {stack} bytes, in all of them together."
    head = ["kernel", *(f"{a // 10}.{a % 10}" for a in architectures)]
    return f"{markdown.table(head, rows)}\n{told}\n"


def nvcc_version(toolkit: build_cuda.Toolkit) -> str:
    """What nvcc says of itself, in a line."""
    lines = build_cuda.output_of([toolkit.nvcc, "--version"]).stdout.splitlines()
    return next((line for line in lines if "release" in line), "unknown")


def main() -> int:
    parser = Parser(
        prog="python -m tools.gpu.resources", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("output", metavar="OUT.json", type=Path, help="what was found")
    output: Path = parser.parse_args().output
    check_output(output)
    try:
        toolkit = build_cuda.find_toolkit()
    except build_cuda.NoToolkit as error:
        raise UserError(str(error)) from error
    uses = parse(compile_strictly(toolkit))
    record = {
        "schema_version": VERSION,
        "nvcc": nvcc_version(toolkit),
        "uses": [u._asdict() for u in uses],
    }
    write_json(output, record)
    print(table(uses), end="")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
