"""Faults planted in the CUDA kernels, each of which the emulation or a sanitizer must report."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from tests.support.emulation import FLAVOURS, ROOT, build, emulate, execute, make_request
from tests.support.environment import require

KERNELS = "grid_kernels.cuh"


class Fault(NamedTuple):
    """A change of one place in csrc, and what finds it."""

    name: str
    before: str
    after: str
    flavour: str
    report: str
    file: str = KERNELS


BARRIER = "    __syncthreads();\n"
FILL = "int d = {}; d {} DEPTH; ++d) tile.right"
FAULTS = [
    Fault(
        "no barrier before a product", f"sums) {{\n{BARRIER}", "sums) {\n", "thread", "data race"
    ),
    Fault(
        "no barrier after a product",
        f"{BARRIER}}}\n\n// Calls",
        "}\n\n// Calls",
        "thread",
        "data race",
    ),
    Fault("no order between the lanes of a warp", "__syncwarp();", "", "thread", "data race"),
    Fault(
        "blocks that write one element",
        "starts[value] = next",
        "starts[0] = next",
        "thread",
        "data race",
    ),
    Fault(
        "one row too many",
        FILL.format(0, "<"),
        FILL.format(0, "<="),
        "address",
        "heap-buffer-overflow",
    ),
    Fault(
        "a launch with too little shared memory",
        "sizeof(ProductTile)}",
        "sizeof(ProductTile) - 4}",
        "plain",
        "more shared memory is used than the launch asked for",
        "cuda_launch.h",
    ),
    Fault("a mask without a lane", "0xffffffffu", "0x7fffffffu", "plain", "mask leaves out a lane"),
    Fault(
        "a thread that misses a barrier",
        f"sums) {{\n{BARRIER}",
        f"sums) {{\n    if (threadIdx.x == 5) return;\n{BARRIER}",
        "plain",
        "a __syncthreads that not every thread of its block reaches",
    ),
    Fault(
        "a lane that misses a shuffle",
        "peak = warp_maximum(peak);",
        "if (lane() != 3) peak = warp_maximum(peak);",
        "plain",
        "a shuffle that not every lane of its warp reaches",
    ),
]


def plant(fault: Fault, folder: Path) -> Path:
    """A copy of csrc with the fault."""
    shutil.copytree(ROOT / "csrc", folder)
    text = (folder / fault.file).read_text()
    assert text.count(fault.before) == 1, f"{fault.before!r} is not one place of {fault.file}"
    (folder / fault.file).write_text(text.replace(fault.before, fault.after))
    return folder


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_reported(fault, tmp_path):
    require("g++")
    kernels = plant(fault, tmp_path / "csrc")
    flags = [flag for flag in FLAVOURS[fault.flavour] if not flag.startswith("-O")]
    program = build(tmp_path / "emulated", *flags, kernels=kernels)
    done, _ = execute(program, make_request(5, 1, 33, 25, 1))
    assert done.returncode != 0
    assert fault.report in done.stderr


def test_shared_memory_that_no_thread_filled_shows_as_nan(tmp_path):
    require("g++")
    unfilled = Fault("", FILL.format(0, "<"), FILL.format(1, "<"), "plain", "")
    program = build(tmp_path / "emulated", kernels=plant(unfilled, tmp_path / "csrc"))
    assert torch.isnan(emulate(program, make_request(5, 1, 33, 25, 1)).logits).all()
