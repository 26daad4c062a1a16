"""The native code under sanitizers: no access beside a table, no undefined step, no data race."""

import subprocess

import pytest

from tests.support.environment import ROOT, require, unavailable


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_every_implementation_is_clean_under_the_sanitizer(sanitizer, tmp_path):
    compiler = require("g++")
    (tmp_path / "empty.cpp").write_text("int main() {}")
    supported = subprocess.run(
        [
            compiler,
            f"-fsanitize={sanitizer}",
            str(tmp_path / "empty.cpp"),
            "-o",
            str(tmp_path / "empty"),
        ],
        capture_output=True,
    )
    if supported.returncode != 0:
        unavailable(f"{compiler} has no {sanitizer} sanitizer")
    done = subprocess.run(
        ["bash", str(ROOT / "tools/sanitize.sh"), sanitizer], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "as the reference" in done.stdout
