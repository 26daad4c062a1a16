"""Every kernel that was timed beside its roofline on this card, from the record so far."""

import json
from pathlib import Path

from tools.gpu.measured import measured
from tools.gpu.parts.part import Missing
from tools.gpu.record import write_json


def main(result: Path, out: str) -> None:
    kernels = measured(json.loads((Path(out) / "gpu.json").read_text())["results"])
    if not kernels:
        raise Missing("no kernel was timed")
    write_json(result, {"kernels": kernels})
    for kernel in kernels:
        print(f"{kernel['kernel']} {kernel['problem']}: {kernel['ratio']:.1f} times its bound")
