"""report.md, for people, from the record so far."""

import json
from pathlib import Path

from tools.gpu import tables as gpu_tables
from tools.gpu.record import write_text


def main(_: Path, out: str) -> None:
    record = json.loads((Path(out) / "gpu.json").read_text())
    write_text(Path(out) / "report.md", gpu_tables.report(record))
