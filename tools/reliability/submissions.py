"""Sweeps handed to a Slurm cluster whose sbatch refuses, talks nonsense, hangs or goes away."""

import os
import random
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from grokking.commands.sweep import main as sweep
from grokking.sweeps.plan import read_plan
from grokking.sweeps.slurm import DEFAULT_ARRAY_LIMIT
from tests.support.sweep_folders import write_run
from tools.reliability.batches import in_batches
from tools.reliability.calls import Called, called
from tools.reliability.outcome import Outcome

SBATCH = """\
#!/bin/sh
PATH={path}
give() {{ echo "$number" >> "$STATE/given"; echo "$number${{CLUSTER-}}"; }}
echo "$*" >> "$STATE/calls"
call=$(($(wc -l < "$STATE/calls")))
number=$((1000 + call))
if [ "$call" = {call} ]; then
  {does}
fi
give
"""


class Fault(NamedTuple):
    """What sbatch does at one call, and what the product then says of it, as a pattern.

    `code` of the command, None where it goes on. `before`: done at the end of the call before it.
    """

    does: str
    says: str = ""
    code: int | None = 1
    before: bool = False


_UNANSWERED = (
    r"sbatch took .* without giving its job's number \(it said: {}\); squeue --me shows it"
)
_GONE = "sbatch cannot be run: {}"
FAULTS = {
    "none": Fault("", code=None),
    "words before the number": Fault(r"printf 'Welcome!\n 7 jobs left\n\n'", code=None),
    "a cluster after the number": Fault("CLUSTER=';big'", code=None),
    "refuses": Fault(
        "echo 'sbatch: error: enough\n jobs' >&2; exit 1", "refused .*: error: enough jobs"
    ),
    "refuses on stdout": Fault("echo 17; exit 1", r"sbatch refused .*: 17"),
    "refuses in silence": Fault("exit 3", r"sbatch refused .*: exit code 3"),
    "dies": Fault("kill -KILL $$", r"sbatch refused .*: exit code -9"),
    "says nothing": Fault("exit 0", _UNANSWERED.format("nothing")),
    "says nonsense": Fault(
        r"printf 'Submitted\n12 34\n\377\000<b>-5\n1.5\n'; exit 0",
        _UNANSWERED.format("Submitted .*"),
    ),
    **{
        f"hangs until {name}": Fault(
            f"kill -{name} $PPID; sleep 1000 & wait",
            f"SIG{name} while sbatch was at work",
            128 + number,
        )
        for name, number in (("INT", 2), ("TERM", 15), ("HUP", 1))
    },
    "hangs with its number given": Fault(
        "give; kill -TERM $PPID; sleep 1000", "SIGTERM before .* was submitted", 128 + 15
    ),
    "is not there": Fault('rm "$0"', _GONE.format("No such file"), before=True),
    "may not be run": Fault('chmod 0 "$0"', _GONE.format("Permission denied"), before=True),
    "is no program": Fault(
        'printf "\\0" > "$0_"; chmod 755 "$0_"; mv "$0_" "$0"',
        _GONE.format("Exec format"),
        before=True,
    ),
}
LIMITS = {  # what scontrol prints, and MaxArraySize by that
    **{f"echo 'MaxArraySize            = {limit}'": limit for limit in (1, 2, 3, 4, 6, 10, 1001)},
    "echo 'SlurmctldHost = a'; exit 1": DEFAULT_ARRAY_LIMIT,
    r"printf '\377 MaxArraySize = many'": DEFAULT_ARRAY_LIMIT,
    "echo 'MaxArraySize = 0'": 0,
}


def sbatch_errors(count: int, chance: random.Random, folder: Path) -> Outcome:
    """A sweep submitted while sbatch fails at some call; then submitted again."""
    with tempfile.TemporaryDirectory(prefix="grokking_") as programs:  # where programs may run
        return in_batches(count, chance, folder, partial(_attempt, Path(programs)), size=20)


def _attempt(programs: Path, directory: Path, chance: random.Random) -> Iterator[str]:
    decays, seeds = range(1, chance.randint(2, 4)), range(1, chance.randint(2, 6))
    total = len(decays) * len(seeds)
    config, limit = chance.choice([(c, n) for c, n in LIMITS.items() if n == 0 or total / n <= 6])
    options = [*["--slurm-throttle", "2"] * chance.choice((0, 1))]
    options += [*["--no-reports"] * chance.choice((0, 1))]
    grid = ("--weight-decays", " ".join(map(str, decays)), "--seeds", " ".join(map(str, seeds)))
    calls = 1 + (-(-total // limit) if limit else 0)
    name, at = chance.choice(list(FAULTS)), chance.randint(1, calls)
    fault, where = FAULTS[name], f"{total} runs by {limit} {options}, sbatch {name} at call {at}: "
    directory.mkdir()
    os.chdir(directory)
    os.environ.update(PATH=str(programs), STATE=str(directory))  # no sbatch of this machine
    folder = directory / "a sweep"
    _install(programs, config, fault, at)
    missing = shutil.which("sbatch") is None
    done = _swept("--slurm", *options, *grid, "--output", str(folder))
    if limit == 0 or missing:  # noticed before anything is written
        faults = [*done.faults(2), *(["something was written"] * folder.exists())]
    else:
        last = name == "hangs with its number given" and at == calls
        failing = None if last else fault.code
        faults = [*_badly_ended(done, failing, fault.says, directory)]
        if failing is None:
            faults += _badly_covered(done, directory, range(total), limit, options)
        _install(programs, config, FAULTS["none"], at)
        faults += _again(done, directory, folder, limit, options, chance)
    yield from (where + fault for fault in faults)
    os.chdir(directory.parent)
    shutil.rmtree(directory)


def _again(
    done: Called,
    directory: Path,
    folder: Path,
    limit: int,
    options: list[str],
    chance: random.Random,
) -> Iterator[str]:
    """What is wrong when some runs have finished and the command that was told submits the rest."""
    _read(directory / "calls")
    left = []
    for number, run in enumerate(read_plan(folder).runs()):
        if chance.random() < 0.3:
            decay, seed = run.variables["GROK_WEIGHT_DECAY"], run.variables["GROK_SEED"]
            write_run(folder, float(decay), int(seed), None)
        else:
            left.append(number)
    told = (done.errors or done.out).strip().rpartition("with: ")[2]
    words = shlex.split(told)  # a script's name, or "grokking sweep", and the options
    first = next(place for place, word in enumerate(words) if word.startswith("--"))
    again = _swept(*words[first:])
    faults = _badly_covered(again, directory, left, limit, options)
    yield from (f"again by {told!r}: {fault}" for fault in faults)


def _swept(*words: str) -> Called:
    return called(lambda: sweep(sys.argv[1:]), *words)


def _install(programs: Path, config: str, fault: Fault, at: int) -> None:
    call = at - fault.before
    texts = {
        "sbatch": SBATCH.format(path=os.defpath, call=call, does=fault.does or ":"),
        "scontrol": f"#!/bin/sh\n{config}\n",
    }
    for name, text in texts.items():
        path = programs / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    if call == 0:
        command = ["/bin/sh", "-c", fault.does, str(programs / "sbatch")]
        subprocess.run(command, env={"PATH": os.defpath}, check=True)


def _badly_ended(done: Called, code: int | None, says: str, directory: Path) -> Iterator[str]:
    """What is wrong with a failure: its code, its line, and what that tells of the jobs that were given."""
    if code is None:
        return
    if done.code != code or done.out or done.errors.count("\n") != 1:
        yield f"exit code {done.code}, expected {code}: {done.errors!r} {done.out!r}"
    if not re.match(f"error: .*{says}", done.errors):
        yield f"not told as {says!r}: {done.errors!r}"
    given = _read(directory / "given").split()
    if given:
        arrays = f"job array{'s' * (len(given) > 1)} {', '.join(given)} "
        words = f"going on: {arrays}(to stop: scancel {' '.join(given)}); "
    else:
        sure = "squeue" not in done.errors
        words = f"; nothing{'' if sure else ' else'} is submitted; "
    if words not in done.errors:
        yield f"given were {given}, told {done.errors!r}"


def _badly_covered(
    done: Called,
    directory: Path,
    numbers: Sequence[int],
    limit: int,
    options: list[str],
) -> Iterator[str]:
    """Runs that are not submitted exactly once, jobs that are not told or not in order."""
    given = _read(directory / "given").split()
    yield from done.faults(0)
    if not given:
        yield f"nothing was given: {done}"
        return
    *arrays, analysis = given
    calls = re.findall(
        r"^--parsable (--dependency=\S+ )?(.+)$", _read(directory / "calls"), re.MULTILINE
    )
    covered = [run for _, script in calls[:-1] for run in _runs_of(Path(script), limit, options)]
    if covered != list(numbers):
        yield f"covered {covered}, expected {list(numbers)}"
    before = [arrays[:n][-1:] if "--slurm-throttle" in options else [] for n in range(len(arrays))]
    due = [f"--dependency=afterany:{':'.join(jobs)} " * bool(jobs) for jobs in [*before, arrays]]
    if [dependency for dependency, _ in calls] != due:
        yield f"submitted as {calls}, expected {due}"
    for words in (f"analysis as job {analysis}\n", f"squeue -j {','.join(given)}\n"):
        if words not in done.out:
            yield f"not told {words!r}: {done.out!r}"


def _read(path: Path) -> str:
    """A file that may not be there; it is gone then."""
    text = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return text


def _runs_of(script: Path, limit: int, options: list[str]) -> Iterator[int]:
    """The numbers of the runs that the tasks of an array are."""
    text = script.read_text()
    array, throttle = re.search(r'--array="([0-9,-]+)(%2)?"', text).groups()  # type: ignore[union-attr]
    assert bool(throttle) == ("--slurm-throttle" in options), text
    assert ("--no-reports" in text) == ("--no-reports" in options), text
    first = int(re.search(r'--run "\$\(\((\d+) \+ SLURM_ARRAY_TASK_ID\)\)"$', text)[1])  # type: ignore[index]
    for streak in array.split(","):
        low, _, high = streak.partition("-")
        for task in range(int(low), int(high or low) + 1):
            assert task < limit, (array, limit)
            yield first + task
