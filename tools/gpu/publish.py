"""gpu.json of a call -> docs/results/gpu.json, gpu.md, and the tables of README and docs/cuda.md.

    python -m tools.gpu.publish OUT_DIR/gpu.json

Nothing is written unless all of it can be.
"""

import sys
from pathlib import Path
from typing import Any

from grokking.commands.cli import Parser, run_main
from grokking.files.json_files import atomic_write_text, read_json
from grokking.system.environment import git_commit
from grokking.system.errors import UserError
from tools.docs import tables as docs_tables
from tools.gpu import tables as gpu_tables
from tools.gpu.measured import measured
from tools.gpu.record import (
    DONE,
    FAILED,
    MISSING,
    ROOT,
    SCHEMA_VERSION,
    TIMEOUT,
    sources_sha256,
    write_json,
)

STATES = (DONE, MISSING, FAILED, TIMEOUT)
ON_GPU = (
    "first_use",
    "gpu_tests",
    "kernel_times",
    "epochs",
    "gpu_run",
)  # parts with a result there


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="publish", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("record", type=Path, metavar="gpu.json", help="what a call has left")
    path = parser.parse_args(arguments).record
    record = read_record(path)
    try:
        page = complete(record)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(f"{path}: its results are not those of this version ({error!r})") from error
    results = ROOT / "docs" / "results"
    write_json(results / "gpu.json", record)
    atomic_write_text(results / "gpu.md", page)
    print(f"updated: {', '.join(['gpu.json', 'gpu.md', *docs_tables.rewrite(ROOT)])}")
    return 0


def read_record(path: Path) -> dict[str, Any]:
    """The checked record of a call on a GPU; UserError in one line for anything else."""
    record = read_json(path)
    if record.get("schema_version") != SCHEMA_VERSION:
        found = record.get("schema_version")
        raise UserError(f"{path}: 'schema_version' is {found!r}, expected {SCHEMA_VERSION}")
    parts, results = record.get("parts"), record.get("results")
    if not isinstance(parts, list) or not all(map(is_ending, parts)):
        raise UserError(f"{path}: 'parts' are not {{name, state, seconds, reason}}, each of them")
    if not isinstance(results, dict) or not isinstance(record.get("date"), str):
        raise UserError(f"{path}: 'results' or 'date' is missing, expected a record of one_call.sh")
    if not any(results.get(part) for part in ON_GPU):
        why = next((part["reason"] for part in parts if part["name"] == "machine"), "no machine")
        raise UserError(f"{path}: nothing ran on a GPU ({why}), expected a call on one")
    return record


def is_ending(part: object) -> bool:
    """Is it what the call says of one part?"""
    return (
        isinstance(part, dict)
        and isinstance(part.get("name"), str)
        and part.get("state") in STATES
        and isinstance(part.get("seconds"), (int, float))
        and (part["state"] == DONE or isinstance(part.get("reason"), str))
    )


def complete(record: dict[str, Any]) -> str:
    """Add the commit and the roofline as this version counts it; returns the page of the record."""
    same = record.get("sources_sha256") == sources_sha256()
    record["commit"] = (
        git_commit() if same else (record["results"].get("machine") or {}).get("git_commit")
    )
    record["results"]["roofline"] = {"kernels": measured(record["results"])}
    for show in (gpu_tables.summary, gpu_tables.statement, gpu_tables.measurements):
        show(record)
    return gpu_tables.report(record)


if __name__ == "__main__":
    sys.exit(run_main(main))
