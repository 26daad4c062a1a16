"""What every test gets: a clean environment, tiny runs as real processes, one browser."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.browser import Chromium
from tests.support.environment import ROOT, Grokking, clean_environment, require
from tests.support.tiny import TINY
from tests.support.warm import python

settings.register_profile("untimed", deadline=None)  # a busy machine is no fault of an example
settings.load_profile("untimed")

for _name in [name for name in os.environ if name.startswith("GROK_")]:
    del os.environ[_name]  # the user's settings are none of the tests'
for _name in ("COLUMNS", "LINES", "FORCE_COLOR", "NO_COLOR", "PY_COLORS"):
    os.environ.pop(_name, None)  # nor is the user's terminal
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a tiny model gains nothing from more
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # else torch's idle threads spin: on a busy
# machine they take the cores from those that work, which made a minute of seconds

# Started in the background of a script, pytest inherits ignored signals, and so would what it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def grokking(tmp_path: Path) -> Grokking:
    """Run `python -m grokking ARGS` in an empty folder with the given variables on top of TINY."""

    def call(
        *arguments: str, tiny: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        env = clean_environment(PYTHONPATH=str(ROOT), **{**(TINY if tiny else {}), **variables})
        return python("-m", "grokking", *arguments, cwd=tmp_path, env=env)

    return call


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """One headless browser for all tests; `with chromium.open(path) as page:` opens a tab in it."""
    with Chromium(require("chromium")) as browser:
        yield browser
