#!/usr/bin/env python3
"""Keep count of how often each promise of docs/RELIABILITY.md is broken: reliability.py [--full]

Without --full as many attempts as CI makes. Writes OUT.json; the drivers are in tests/reliability/.
"""

import random
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from grokking.cli import Parser, run_main  # noqa: E402


def main() -> int:
    parser = Parser(prog="reliability.py", description="Count how often each promise is broken.")
    parser.add_argument("--full", action="store_true", help="all attempts; takes most of an hour")
    parser.add_argument("--only", metavar="NAME", help="one promise")
    parser.add_argument("--seed", type=int, default=1, help="of the random choices [1]")
    parser.add_argument(
        "--out", type=Path, metavar="OUT.json", help="results, e.g. docs/results/reliability.json"
    )
    arguments = parser.parse_args()

    from reliability import PROMISES, WORKPLACE
    from reliability.outcome import NotPossible, Outcome

    from grokking.artifacts import write_json
    from grokking.environment import versions
    from grokking.errors import UserError

    if arguments.only is not None and arguments.only not in PROMISES:
        raise UserError(f"--only is {arguments.only!r}, expected one of {', '.join(PROMISES)}")
    found = []
    for name, promise in PROMISES.items():
        if arguments.only not in (None, name):
            continue
        count = promise.count if arguments.full else promise.in_ci
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="grokking_", dir=WORKPLACE) as folder:
            why = None
            try:
                result = promise.driver(count, random.Random(arguments.seed), Path(folder) / name)
            except NotPossible as reason:
                result, why = Outcome(), str(reason)
        seconds = time.monotonic() - began
        told = f"not tried: {why}" if why else f"{len(result.broken)} broken, {seconds:.0f} s"
        print(f"{name:<16} {result.tried:>6} tried, {told}", flush=True)
        for line in result.broken[:20]:
            print(f"  {line}", flush=True)
        found.append(
            {
                "name": name,
                "text": promise.text,
                "shown": promise.shown,
                "tried": result.tried,
                "not_tried_because": why,
                "broken": result.broken[:20],
                "broken_count": len(result.broken),
                "seconds": round(seconds),
            }
        )
    record = {
        "full": arguments.full,
        "seed": arguments.seed,
        "promises": found,
        "versions": versions(),
    }
    if arguments.out is not None:
        write_json(arguments.out, {**record, "date": time.strftime("%Y-%m-%d")})
    return 1 if any(promise["broken_count"] for promise in found) else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
