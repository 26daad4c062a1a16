"""What quickstart.sh downloads and leaves on disk.

    python -m tools.docs.measure_quickstart OUT.json

Runs it in a fresh copy of HEAD, but for 60 epochs only; what a run of 10,000 leaves follows from their
files as in the estimate of a sweep. Wants the network and, on Linux, the CPU build of torch.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from grokking.commands.cli import Parser, run_main
from grokking.files.json_files import write_json
from grokking.schema import VERSION
from grokking.sweeps.estimate import MEASURED_EPOCHS, disk_use, measured_in
from grokking.system.environment import versions

ROOT = Path(__file__).resolve().parents[2]

EPOCHS = 10_000


def main() -> None:
    parser = Parser(
        prog="python -m tools.docs.measure_quickstart",
        description="Download and disk of quickstart.sh.",
    )
    parser.add_argument("output", type=Path, metavar="OUT.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="grokking_") as folder:
        copy, wheels = Path(folder) / "grokking", Path(folder) / "wheels"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
        short = os.environ | {"GROK_NUM_EPOCHS": str(MEASURED_EPOCHS)}
        subprocess.run([copy / "scripts" / "quickstart.sh"], env=short, check=True)
        pip: list[str | Path] = [
            copy / ".venv" / "bin" / "python",
            "-m",
            "pip",
            "--quiet",
            "download",
        ]
        subprocess.run([*pip, "-r", "requirements.txt", "-d", wheels], cwd=copy, check=True)
        run = measured_in([copy / "artifacts"], MEASURED_EPOCHS, took=0.0, reporting=None)
        sizes = {
            "download": bytes_in(wheels),
            "environment": bytes_in(copy / ".venv"),
            "run": disk_use(EPOCHS, run),
        }
    record = {"epochs": EPOCHS, "bytes": sizes, "versions": versions()}
    date = time.strftime("%Y-%m-%d")
    write_json(arguments.output, {"schema_version": VERSION, **record, "date": date})


def bytes_in(folder: Path) -> int:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files)


if __name__ == "__main__":
    sys.exit(run_main(main))
