"""Start a module of this checkout from a script, installed or not.

The scripts on surfaces and sweeps need numpy and plotly only; where one is missing they say how to get both.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent


def run(module: str) -> NoReturn:
    """Run `main` of a module of this checkout and exit with its code."""
    sys.path.insert(0, str(ROOT))
    try:
        main = import_module(module).main
    except ModuleNotFoundError as error:
        if error.name not in ("numpy", "plotly"):
            raise
        cure = "pip install -r scripts/requirements.txt"
        print(f"error: {error.name} is missing: {cure}", file=sys.stderr)
        raise SystemExit(2) from None
    sys.exit(import_module("grokking.commands.cli").run_main(main))
