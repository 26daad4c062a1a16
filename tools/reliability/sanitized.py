"""The extension under AddressSanitizer, with Python in front of it."""

import os
import random
import shlex
import subprocess
import sys
from pathlib import Path

from tests.support.needs import NotPossible
from tools.reliability.outcome import Outcome

ROOT = Path(__file__).resolve().parents[2]
CALLS = ROOT / "tools" / "reliability" / "wrong_calls.py"
BATCH = 250  # calls of one process


def wrong_arguments(count: int, chance: random.Random, folder: Path) -> Outcome:
    """Calls with one argument or table spoiled: an exception or a result, and no report."""
    built, variables = _build(folder)
    planted = _python(variables, "1", "1", "--overrun")
    assert "heap-buffer-overflow" in planted.stderr, "the sanitizer is blind: " + planted.stderr
    result = Outcome()
    for start in range(0, count, BATCH):
        seed, number = chance.getrandbits(64), min(BATCH, count - start)
        done = _python(variables, str(seed), str(number))
        result.tried += number
        if done.returncode != 0 or not done.stdout.startswith(str(built)):
            told = f"{done.returncode} {done.stdout} {_report(done.stderr)}"
            result.broken.append(f"calls from seed {seed}: ended with {told}")
    return result


def _build(folder: Path) -> tuple[Path, dict[str, str]]:
    """The package with the extension built for the sanitizer, and the variables to run it under."""
    folder.mkdir(parents=True, exist_ok=True)
    built, scratch = folder / "package", folder / "scratch"
    flag = "-fsanitize=address"
    compiler = os.environ.get("CXX", "g++")
    # exceptions of C++ pass through the sanitizer only if their library is there before it
    libraries = [_library(compiler, name) for name in ("libasan.so", "libstdc++.so.6")]
    quick = folder / "compiler"  # -O1 has the last word, as wherever a sanitizer is built for
    quick.write_text(f'#!/bin/sh\nexec {shlex.quote(compiler)} "$@" -O1\n')
    quick.chmod(0o755)
    switches = {"GROK_BUILD_EXT": "1", "GROK_BUILD_CUDA": "0", "CFLAGS": flag, "LDFLAGS": flag}
    switches |= dict.fromkeys(("CC", "CXX"), shlex.quote(str(quick)))
    build = ["setup.py", "-q", "build", f"--build-base={scratch}", f"--build-lib={built}"]
    done = subprocess.run(
        [sys.executable, *build],
        cwd=ROOT,
        env=os.environ | switches,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (module,) = built.glob("grokking/_C*.so")
    assert b"__asan_report" in module.read_bytes(), "built without the sanitizer"
    options = "detect_leaks=0:allocator_may_return_null=1"  # leaks: Python's own, at its end
    return built, os.environ | {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": options,
        "PYTHONPATH": str(built),
    }


def _library(compiler: str, name: str) -> str:
    """Where the compiler has it."""
    asked = [compiler, f"-print-file-name={name}"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotPossible(f"{compiler} does not say where {name} is: {error}") from error
    if not Path(found).is_absolute():
        raise NotPossible(f"{compiler} has no {name}")
    return found


def _python(variables: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(CALLS), *arguments]
    return subprocess.run(command, env=variables, capture_output=True, text=True)


def _report(text: str) -> str:
    """The first lines of the sanitizer's report, or the last of what else was said."""
    _, found, report = text.partition("ERROR: AddressSanitizer")
    return report[:1000] if found else text[-300:]
