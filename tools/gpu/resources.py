"""Compile the CUDA kernels for every architecture nvcc offers, strictly, and print what they use.

    python -m tools.gpu.resources                        a Markdown table (docs/cuda.md holds one)
    python -m tools.gpu.resources --update docs/cuda.md

Warnings and register spills are errors here, and only here: a user's install never fails for one.
Needs nvcc, no GPU.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import NamedTuple

import build_cuda
from tools.gpu.record import ROOT

STRICT = [
    "-Werror", "all-warnings", "-Xptxas", "-v,--warn-on-spills,--warn-on-local-memory-usage,-Werror",
    "--compiler-options", "-Wall,-Wextra,-Werror",
]  # fmt: skip
MARKS = (
    "<!-- resources: written by python -m tools.gpu.resources --update docs/cuda.md -->",
    "<!-- end -->",
)


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
    head = ["kernel", *(f"{a // 10}.{a % 10}" for a in architectures)]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * len(architectures) + "|"]
    for kernel in sorted({use.kernel for use in uses}):
        cells = [str(registers.get((kernel, a), "-")) for a in architectures]
        lines.append("| " + " | ".join([f"`{kernel}`", *cells]) + " |")
    stack, spills = sum(use.stack for use in uses), sum(use.spills for use in uses)
    return "\n".join(
        [*lines, "", f"Spilled: {spills} bytes; stack: {stack} bytes, in all of them together."]
    )


def update(document: Path, text: str, marks: tuple[str, str] = MARKS) -> None:
    """Put the table between the document's two marks."""
    before, rest = document.read_text(encoding="utf-8").split(marks[0])
    _, after = rest.split(marks[1], 1)
    document.write_text(f"{before}{marks[0]}\n\n{text}\n\n{marks[1]}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--update", metavar="FILE", type=Path, help="write the table into this document"
    )
    options = parser.parse_args()
    try:
        toolkit = build_cuda.find_toolkit()
    except build_cuda.NoToolkit as error:
        sys.exit(str(error))
    text = table(parse(compile_strictly(toolkit)))
    print(text)
    if options.update:
        update(options.update, text)


if __name__ == "__main__":
    main()
