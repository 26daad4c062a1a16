"""A disk that is really full, and a machine without a network."""

import ctypes
import errno
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.needs import NotPermitted, without_network
from tools.reliability.forked import (
    TINY,
    Fork,
    differences,
    forked_run,
    outcome,
    timed_run,
    unreadable,
)
from tools.reliability.outcome import Outcome

ROOT = Path(__file__).resolve().parents[2]
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000  # linux/sched.h
_PAGE = 4096  # a tmpfs gives room by the page
_SMALL = 2 << 20  # bytes
_FORBIDDEN = 77  # exit code of a fork that may not mount


def full_disk(count: int, chance: random.Random, folder: Path) -> Outcome:
    """A disk of 2 MB with some room left, page by page from none; then it gets larger."""
    result = Outcome()
    reference = folder / "reference"
    timed_run(reference)
    expected = outcome(reference)
    needed = sum(
        _pages(path) for path in reference.rglob("*") if path.suffix not in (".js", ".html")
    )
    rooms = list(range(0, needed + 1, _PAGE))
    for room in rooms if count >= len(rooms) else chance.sample(rooms, count):
        result.tried += 1
        faults = folder / "faults"

        def body(room: int = room, faults: Path = faults) -> int:
            run = folder / "run"  # the disk itself: what the run prints goes elsewhere
            _mount(run, f"size={_SMALL}")
            faults.write_text("".join(f"{line}\n" for line in _fill(run, room, expected)))
            return 0

        ended = Fork(body, folder / "stderr").wait()
        if ended.code == _FORBIDDEN:
            raise NotPermitted(ended.errors.strip())
        assert ended.code == 0, ended.errors
        result.broken += [f"{room} bytes left: {line}" for line in faults.read_text().splitlines()]
    return result


def _pages(path: Path) -> int:
    return -(-path.stat().st_size // _PAGE) * _PAGE if path.is_file() else _PAGE


def _mount(disk: Path, options: str) -> None:
    """A tmpfs that this process and its children alone see; exit code 77 where that is forbidden."""
    try:
        _unshare_mounts()
        disk.mkdir(exist_ok=True)
        _mounted("--make-rprivate", "/")
        _mounted("-t", "tmpfs", "-o", options, "none", str(disk))
    except OSError as error:
        print(f"no tmpfs can be mounted here: {error}", file=sys.stderr, flush=True)
        os._exit(_FORBIDDEN)


def _unshare_mounts() -> None:
    """A view of the mounts of its own: as root, or as root of a new namespace of users."""
    libc = ctypes.CDLL(None, use_errno=True)
    users = f"0 {os.getuid()} 1", f"0 {os.getgid()} 1"
    if libc.unshare(_CLONE_NEWNS) == 0:
        return
    if libc.unshare(_CLONE_NEWNS | _CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(users[0])
    Path("/proc/self/gid_map").write_text(users[1])


def _mounted(*arguments: str) -> None:
    """`mount ARGUMENTS`; OSError in its words where it is refused."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(done.stderr.strip())


def _fill(run: Path, room: int, expected: dict[str, Any]) -> list[str]:
    """What is wrong with a run that finds `room` bytes on its disk, and with its continuation."""
    stat = os.statvfs(run)
    (run / "ballast").write_bytes(bytes(stat.f_bavail * stat.f_frsize - room))
    ended = forked_run(run)
    lines = [line for line in ended.errors.splitlines() if line.startswith("error: ")]
    found = []
    if ended.code != 1 or len(lines) != 1 or os.strerror(errno.ENOSPC) not in lines[0]:
        found.append(f"exit code {ended.code}, {ended.errors!r}")
    found += unreadable(run)
    found += [f"left {path.name}" for path in run.rglob("*.tmp")]
    _mounted("-o", "remount,size=64m", str(run))
    ended = forked_run(run, GROK_RESUME="1")
    different = differences(outcome(run), expected) if ended.code == 0 else ["nothing"]
    return found + [f"resumed to another {name} {ended.errors!r}" for name in different]


# ---------------------------------------------------------------- no network

_REFUSE = """
import os, sys
def refuse(event, arguments):
    if event == "socket.getaddrinfo" or event == "socket.__new__" and arguments[1] != 1:  # AF_UNIX
        with open(os.environ["REFUSED"], "a") as log:
            log.write(f"{event} {arguments[1:]} in {sys.argv}\\n")
        raise OSError("sockets are refused here")
sys.addaudithook(refuse)
"""
_GRID = ("--weight-decays", "1.0", "--seeds", "42")
_COMMANDS = [  # in an order in which each finds what it reads
    "-m grokking",
    "-m grokking --help",
    "-m grokking --print-config",
    "-m grokking doctor",
    "-m grokking report run",
    "-m grokking export run/checkpoint_labeled/final.pt --format tl",
    "-m grokking export run/checkpoint_labeled/final.pt --format npz",
    f"-m grokking sweep {' '.join(_GRID)} --output sweep",
    "SCRIPTS/visualize_activation_surface.py run/activation_surface_neuron_0.json",
    "SCRIPTS/analyze_weight_decay_sweep.py sweep",
    "SCRIPTS/plot_sweep_comparison.py sweep",
    "SCRIPTS/sweep_table.py sweep",
]


def offline(count: int, chance: random.Random, folder: Path) -> Outcome:
    """Every command where no network is and every socket is refused, and noticed."""
    alone = without_network()
    result, refused = Outcome(), folder / "refused"
    hook = folder / "hook"
    hook.mkdir(parents=True)
    (hook / "sitecustomize.py").write_text(_REFUSE)
    inherited = {n: v for n, v in os.environ.items() if not n.startswith("GROK_")}
    path = os.pathsep.join([str(hook), str(ROOT)])
    variables = inherited | TINY | {"REFUSED": str(refused), "PYTHONPATH": path}

    def python(*arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        command = [*alone, sys.executable, *arguments]
        env = variables | more
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)

    asked = python("-c", "import socket; socket.create_connection(('127.0.0.1', 9))")
    assert "sockets are refused here" in asked.stderr and refused.exists(), (
        "the trap does not close"
    )
    refused.unlink()
    for command in _COMMANDS[:count]:
        result.tried += 1
        words = command.replace("SCRIPTS", str(ROOT / "scripts")).split()
        more = {"GROK_ARTIFACTS_DIR": "run"} if command == "-m grokking" else {}
        done = python(*words, **more)
        if done.returncode != 0 or refused.exists():
            tried = refused.read_text() if refused.exists() else ""
            result.broken.append(f"{command}: exit code {done.returncode}, {done.stderr} {tried}")
            refused.unlink(missing_ok=True)
    return result
