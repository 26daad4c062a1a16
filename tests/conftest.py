"""What several test files share: tiny runs as real processes, and the rule for missing tools."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from browser import Chromium
from hypothesis import settings
from needs import NotPermitted, NotPossible

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

ROOT = Path(__file__).resolve().parent.parent

TINY = {
    "GROK_MODULUS": "7",
    "GROK_D_MODEL": "16",
    "GROK_NUM_HEADS": "2",
    "GROK_D_MLP": "24",
    "GROK_NUM_EPOCHS": "12",
    "GROK_CHECKPOINT_EVERY": "5",
    "GROK_THREADS": "1",
    "GROK_SKIP_VALIDATION": "1",
    "GROK_TRAIN_FRACTION": "0.5",
    "GROK_DEVICE": "cpu",
}
if "TEST_KERNEL" in os.environ:  # of all tiny runs
    TINY["GROK_KERNEL"] = os.environ["TEST_KERNEL"]


def unavailable(what: str) -> NoReturn:
    """The machine lacks something: the test is skipped, or fails where REQUIRE_TOOLS=1 (CI)."""
    if os.environ.get("REQUIRE_TOOLS") == "1":
        pytest.fail(what)
    pytest.skip(what)


def impossible(reason: NotPossible) -> NoReturn:
    """The test is skipped; or fails where all tools are required, but not for want of a permission."""
    if isinstance(reason, NotPermitted):
        pytest.skip(str(reason))
    unavailable(str(reason))


def require(tool: str) -> str:
    """Path of an external tool, without which the test cannot be made."""
    path = shutil.which(tool)
    if path is None:
        unavailable(f"{tool} is not installed")
    return path


def clean_environment(**variables: str) -> dict[str, str]:
    """The environment, which has no GROK_ variable (see above), plus the given ones."""
    return {**os.environ, **variables}


def held_at(file: str) -> dict[str, str]:
    """Variables under which a run waits for a signal once it has written `file`."""
    return {"HOLD_AT": file, "PYTHONPATH": f"{ROOT / 'tests' / 'hold'}{os.pathsep}{ROOT}"}


Grokking = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def grokking(tmp_path: Path) -> Grokking:
    """Run `python -m grokking ARGS` in an empty folder with the given variables on top of TINY."""

    def call(
        *arguments: str, tiny: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "grokking", *arguments],
            cwd=tmp_path,
            env=clean_environment(PYTHONPATH=str(ROOT), **{**(TINY if tiny else {}), **variables}),
            capture_output=True,
            text=True,
        )

    return call


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """One headless browser for all tests; `with chromium.open(path) as page:` opens a tab in it."""
    with Chromium(require("chromium")) as browser:
        yield browser
