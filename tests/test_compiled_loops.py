"""What the compiler makes of the CPU kernel's hot loops: their sums stay in registers."""

import re
import subprocess
from pathlib import Path

import pytest

import build_cpu
from tests.support.environment import ROOT, require

LOOPS = (  # functions of their own, csrc/cpu_*.h
    "product_",  # product_in_blocks or, where it jumps there, product_tile
    "weights_of_run",
    "rows_of_run",
    "filtered_weights",
    "filtered_hidden",
    "active_product",
)
MULTIPLIES = re.compile(r"\tv?(?:fmadd\d*|mul)[ps]s\t")
VECTOR_ON_STACK = re.compile(r"%[xyz]mm\d+, *-?\d*\(%rsp|\(%rsp\), *%[xyz]mm")


def functions(assembly: str) -> dict[str, str]:
    """The text of every function by its demangled name."""
    names = subprocess.run(["c++filt"], input=assembly, capture_output=True, text=True).stdout
    found = re.findall(r"^(?:void )?(grid::\S.*?):\n(.*?)\.cfi_endproc", names, re.M | re.S)
    return {name.replace("(anonymous namespace)::", ""): body for name, body in found}


def innermost_loops(body: str) -> list[str]:
    """The text between each jump back and its label, where no other such jump lies between."""
    lines = body.splitlines()
    labels = {line[:-1]: i for i, line in enumerate(lines) if re.fullmatch(r"\.L\w+:", line)}
    jumps = [(labels.get(line.split()[-1], i), i) for i, line in enumerate(lines) if "\tj" in line]
    loops = [(first, last) for first, last in jumps if first < last]
    inner = [a for a in loops if not any(a[0] <= b[0] and b[1] <= a[1] and a != b for b in loops)]
    return ["\n".join(lines[first : last + 1]) for first, last in inner]


@pytest.mark.parametrize("target", build_cpu.TARGETS)
def test_no_hot_loop_spills(target: str, tmp_path: Path):
    compiler, _ = require("g++"), require("c++filt")
    machine = subprocess.run([compiler, "-dumpmachine"], capture_output=True, text=True).stdout
    if not machine.startswith("x86_64"):
        pytest.skip("the registers and flags are those of x86-64")
    command = [compiler, *build_cpu.FLAGS, "-fPIC", f"-I{ROOT / 'csrc'}"]
    command += [*build_cpu.TARGETS[target], f"-DGRID_TARGET_{target}"]
    output = tmp_path / "tile.s"
    subprocess.run([*command, "-S", ROOT / "csrc" / "cpu_tile.cpp", "-o", output], check=True)
    found = functions(output.read_text())
    for loop in LOOPS:
        bodies = {name: body for name, body in found.items() if f"::{loop}" in name}
        hot = {
            name: [inner for inner in innermost_loops(body) if MULTIPLIES.search(inner)]
            for name, body in bodies.items()
        }
        assert any(hot.values()), f"{loop} is no function of its own among {sorted(found)}"
        for name, loops in hot.items():
            for inner in loops:
                assert not VECTOR_ON_STACK.search(inner), f"{name} of {target} spills:\n{inner}"
