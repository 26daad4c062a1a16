"""tests/test_cuda_gpu.py, counted."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from tools.gpu.parts.part import gpus
from tools.gpu.record import ROOT, write_json

TESTS = ROOT / "tests" / "test_cuda_gpu.py"


def main(result: Path) -> None:
    import pytest  # noqa: F401  (Missing, if it is)

    gpus()
    report = result.with_suffix(".xml")
    # The plugins and settings of this project's own tests ask for a pytest that may not be there.
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rsfE",
        "-c",
        os.devnull,
        "--rootdir",
        str(ROOT),
    ]
    command += ["-p", "no:cacheprovider", f"--junitxml={report}", str(TESTS)]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
    counts = count(report)
    write_json(result, counts)
    if counts["passed"] == 0 or counts["passed"] != counts["tests"]:
        sys.exit(f"{counts['passed']} of {counts['tests']} tests passed")


def count(report: Path) -> dict[str, int]:
    """Tests, and those of them that passed; SystemExit if pytest wrote no report."""
    if not report.exists():
        sys.exit("pytest wrote no report")
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    tests, *others = (
        sum(int(suite.get(key, 0)) for suite in suites)
        for key in ("tests", "failures", "errors", "skipped")
    )
    return {"tests": tests, "passed": tests - sum(others)}
