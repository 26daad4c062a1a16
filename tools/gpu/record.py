"""gpu.json: what the one call leaves, valid whatever happened. Standard library only."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMA_VERSION = 1
DONE, MISSING, FAILED, TIMEOUT = "done", "missing", "failed", "timeout"
MEASURED = ("csrc/*", "*.py", "grokking/**/*.py", "tools/gpu/program/*", "tools/gpu/parts/*.py")
BUILT = "_build_info.py"  # by setup.py, differently on every machine


def write_text(path: Path, text: str) -> None:
    """The old file or the new one, never a part of either."""
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def write_json(path: Path, value: object) -> None:
    """Strict JSON, as write_text; ValueError for NaN and infinity."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_result(path: Path) -> Any:
    """What a part has written so far; None if that is nothing, or not strict JSON."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        return json.loads(path.read_bytes(), parse_constant=refuse)
    except (OSError, ValueError, RecursionError):
        return None


def sources_sha256(root: Path = ROOT) -> str:
    """One digest of everything whose figures are measured, for trees without a git history."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in MEASURED for path in root.glob(pattern)):
        if path.name == BUILT:
            continue
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def state_of(record: dict[str, Any], part: str) -> str:
    """done, missing, failed or timeout; `missing` for a part that the record does not know."""
    return next((str(p["state"]) for p in record["parts"] if p["name"] == part), MISSING)
