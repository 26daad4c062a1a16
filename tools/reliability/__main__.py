"""Keep count of how often each promise of docs/RELIABILITY.md is broken: python -m tools.reliability [--full]

Without --full as many attempts as CI makes. Writes OUT.json; the drivers lie beside this file.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from grokking.commands.cli import Parser, run_main
from grokking.system.errors import RunError, UserError

LONGEST = ("hostile_strings", "faults")


def main() -> int:
    parser = Parser(prog="tools.reliability", description="Count how often each promise is broken.")
    parser.add_argument("--full", action="store_true", help="all attempts; takes most of an hour")
    parser.add_argument("--only", metavar="NAME", help="one promise")
    parser.add_argument("--count", type=int, metavar="N", help="attempts, with --only [see --full]")
    parser.add_argument("--seed", type=int, default=1, help="of the random choices [1]")
    parser.add_argument("--jobs", type=int, default=1, help="promises at a time [1]")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="OUT.json",
        help="results, e.g. docs/results/reliability.json; with --only, one promise of them anew",
    )
    arguments = parser.parse_args()

    from grokking.files.json_files import check_output, read_json, write_json
    from grokking.system.environment import versions
    from tools.reliability import PROMISES

    if arguments.only is not None and arguments.only not in PROMISES:
        raise UserError(f"--only is {arguments.only!r}, expected one of {', '.join(PROMISES)}")
    if arguments.out is not None:
        check_output(arguments.out)
    names = [name for name in PROMISES if arguments.only in (None, name)]
    if arguments.jobs > 1:
        order = sorted(names, key=lambda name: name not in LONGEST)  # so that none is left alone
        with ThreadPoolExecutor(arguments.jobs) as workers:
            ended = dict(
                zip(order, workers.map(partial(in_a_process, arguments), order), strict=True)
            )
        found = [ended[name] for name in names]
    else:
        found = [tried(arguments, name) for name in names]
    record = {
        "full": arguments.full,
        "seed": arguments.seed,
        "promises": found,
        "versions": versions(),
    }
    if arguments.out is not None and arguments.only is not None and arguments.out.exists():
        record = with_one_replaced(read_json(arguments.out), found[0], versions()["git_commit"])
        write_json(arguments.out, record)
    elif arguments.out is not None:
        write_json(arguments.out, {**record, "date": time.strftime("%Y-%m-%d")})
    return 1 if any(promise["broken_count"] for promise in found) else 0


def with_one_replaced(record: dict[str, Any], one: dict[str, Any], commit: str | None) -> Any:
    """A record of all promises in which one was tried again, or for the first time, at another commit."""
    from tools.reliability import PROMISES

    found = {promise["name"]: promise for promise in record["promises"]}
    found[one["name"]] = {**one, "git_commit": commit}
    return {**record, "promises": [found[name] for name in PROMISES if name in found]}


def tried(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """One promise's attempts, printed, as a record."""
    from tests.support.needs import NotPossible
    from tools.reliability import PROMISES, WORKPLACE
    from tools.reliability.outcome import Outcome

    promise = PROMISES[name]
    count = arguments.count or (promise.count if arguments.full else promise.in_ci)
    began, why = time.monotonic(), None
    with tempfile.TemporaryDirectory(prefix="grokking_", dir=WORKPLACE) as folder:
        try:
            result = promise.driver(count, random.Random(arguments.seed), Path(folder) / name)
        except NotPossible as reason:
            result, why = Outcome(), str(reason)
    seconds = time.monotonic() - began
    told = f"not tried: {why}" if why else f"{len(result.broken)} broken, {seconds:.0f} s"
    lines = [f"{name:<16} {result.tried:>6} tried, {told}", *(f"  {b}" for b in result.broken[:20])]
    print("\n".join(lines), flush=True)
    return {
        "name": name,
        "text": promise.text,
        "shown": promise.shown,
        "tried": result.tried,
        "not_tried_because": why,
        "broken": result.broken[:20],
        "broken_count": len(result.broken),
        "seconds": round(seconds),
    }


def in_a_process(arguments: argparse.Namespace, name: str) -> dict[str, Any]:
    """The same by a process of its own: forks want a parent without threads."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        command = [
            sys.executable,
            "-m",
            "tools.reliability",
            f"--only={name}",
            f"--seed={arguments.seed}",
        ]
        command += ["--full"] * arguments.full + [f"--out={out}"]
        subprocess.run(command, check=False)
        if not out.exists():
            raise RunError(f"the driver of {name} failed, see above")
        (record,) = json.loads(out.read_text())["promises"]
        return dict(record)


if __name__ == "__main__":
    sys.exit(run_main(main))
