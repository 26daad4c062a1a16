"""CUDA events around every kernel and every call, and this card's ceilings, from kernels.cu."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools.gpu.parts.part import EXIT_MISSING, Missing
from tools.gpu.parts.program import compiled
from tools.gpu.record import write_json

REPEATS = "30"
EXPERIMENT = "113,4,512,3830,512"  # P,HEADS,D_MLP,TRAINING_PAIRS,NEURONS


def main(result: Path) -> None:
    command = [str(compiled(result)), "time", REPEATS, EXPERIMENT]
    done = subprocess.run(command, stdout=subprocess.PIPE)
    text = done.stdout.decode(errors="replace")
    print(text, flush=True)
    if done.returncode == EXIT_MISSING:
        raise Missing("kernels.cu finds no GPU that it could run on")
    times = parse(text)
    write_json(result, times)
    if done.returncode != 0 or not all(times.values()):
        sys.exit(f"kernels.cu stopped before it had timed everything ({done.returncode})")


def parse(text: str) -> dict[str, Any]:
    """The lines of `kernels time`, by what they are about; SystemExit for any other line."""
    entries = [entry_of(line) for line in text.splitlines()]
    return {
        "device": next((entry for entry in entries if "device" in entry), None),
        "ceilings": [entry for entry in entries if "ceiling" in entry],
        "calls": [entry for entry in entries if "call" in entry and "kernel" not in entry],
        "kernels": [entry for entry in entries if "kernel" in entry],
    }


def entry_of(line: str) -> dict[str, Any]:
    """One object that is about the device, or about something that took a positive time."""
    try:
        entry = json.loads(line)
        if "device" in entry or 0 < entry["microseconds"] < float("inf"):
            return dict(entry)
    except (ValueError, TypeError, KeyError):
        pass
    sys.exit(f"kernels.cu printed {line[:100]!r}, expected a time in JSON")
