#!/usr/bin/env python3
"""What quickstart.sh downloads and leaves on disk: measure_quickstart.py OUT.json

Runs it in a fresh copy of HEAD, so it takes as long and wants the network; on Linux, the CPU build of torch.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from grokking.artifacts import SCHEMA_VERSION, write_json  # noqa: E402
from grokking.cli import Parser, run_main  # noqa: E402
from grokking.run_summary import summarize  # noqa: E402


def main() -> None:
    parser = Parser(prog="measure_quickstart.py", description="Download and disk of quickstart.sh.")
    parser.add_argument("output", type=Path, metavar="OUT.json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="grokking_") as folder:
        copy, wheels = Path(folder) / "grokking", Path(folder) / "wheels"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
        subprocess.run([copy / "scripts" / "quickstart.sh"], check=True)
        pip = [copy / ".venv" / "bin" / "python", "-m", "pip", "--quiet", "download"]
        subprocess.run([*pip, "-r", "requirements.txt", "-d", wheels], cwd=copy, check=True)
        sizes = {
            "download": bytes_in(wheels),
            "environment": bytes_in(copy / ".venv"),
            "artifacts": bytes_in(copy / "artifacts"),
        }
        run = summarize(copy / "artifacts")
    write_json(arguments.output, {"schema_version": SCHEMA_VERSION, "bytes": sizes, "run": run})


def bytes_in(folder: Path) -> int:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files)


if __name__ == "__main__":
    sys.exit(run_main(main))
