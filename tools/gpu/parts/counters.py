"""What ncu counts of the three large products: how near each unit of the card is to its peak."""

import csv
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools.gpu.parts.kernel_times import EXPERIMENT
from tools.gpu.parts.part import EXIT_MISSING, Missing, tool
from tools.gpu.parts.program import compiled
from tools.gpu.record import write_json

PRODUCTS = re.compile("logits_of_pairs|weight_gradient|hidden_gradient")
SECTIONS = ("SpeedOfLight", "ComputeWorkloadAnalysis", "Occupancy")  # every card has them
METRICS = {  # ours -> how ncu's columns of it begin
    "nanoseconds": "gpu__time_duration.",
    "arithmetic": "sm__pipe_fma_cycles_active.",
    "multiprocessor": "sm__throughput.",
    "L1": "l1tex__throughput.",
    "L2": "lts__throughput.",
    "memory": "gpu__dram_throughput.",
    "warps": "sm__warps_active.",
}


def main(result: Path) -> None:
    program, ncu = compiled(result), tool("ncu")
    command = [ncu, "--csv", "--page", "raw", "--print-units", "base"]
    command += ["--clock-control", "none", "--cache-control", "none"]  # as the card is found
    command += ["--kernel-name", f"regex:{PRODUCTS.pattern}"]
    command += [word for section in SECTIONS for word in ("--section", section)]
    command += [str(program), "run", EXPERIMENT]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode(errors="replace")
    print(text, flush=True)
    if done.returncode == EXIT_MISSING:
        raise Missing("kernels.cu finds no GPU that it could run on")
    kernels = parse(text)
    write_json(result, {"kernels": kernels})
    if not kernels:
        sys.exit(complaint(text) or f"ncu counted nothing (exit code {done.returncode})")


def parse(text: str) -> list[dict[str, Any]]:
    """One entry for each launch in ncu's raw page, which may stand among other lines."""
    lines = [line for line in text.splitlines() if line.startswith('"')]
    rows = csv.DictReader(lines)
    return [entry for row in rows if (entry := entry_of(row)) is not None]


def entry_of(row: dict[str, str]) -> dict[str, Any] | None:
    """Name, blocks and metrics (None for one that is not there); None for a row of something else."""
    name = PRODUCTS.search(row.get("Kernel Name") or "")
    grid = [int(number) for number in re.findall(r"\d+", row.get("Grid Size") or "")]
    if name is None or len(grid) != 3:
        return None
    metrics = {ours: metric(row, prefix) for ours, prefix in METRICS.items()}
    return {"kernel": name[0], "blocks": grid[0] * grid[1] * grid[2], **metrics}


def metric(row: dict[str, str], prefix: str) -> float | None:
    """The first number in a column of that beginning."""
    values = (number(text) for name, text in row.items() if name and name.startswith(prefix))
    return next((value for value in values if value is not None), None)


def number(text: str) -> float | None:
    """ncu writes 1,234.5 for thousands, and "n/a"."""
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def complaint(text: str) -> str | None:
    """ncu's own words for why it could not count."""
    return next(
        (
            line.partition("==ERROR==")[2].strip()
            for line in text.splitlines()
            if "==ERROR==" in line
        ),
        None,
    )
