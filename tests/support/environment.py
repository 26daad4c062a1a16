"""The tree, the variables of programs, and the rule for what a machine lacks."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.needs import NotPermitted, NotPossible

ROOT = Path(__file__).resolve().parents[2]


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
