"""The promises of docs/RELIABILITY.md, each with a driver that counts how often it was broken.

tests/test_reliability.py runs a part of each, python -m tools.reliability --full all of it.
"""

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy starts its threads on import: see forked.py

from tools.reliability import (
    hostile,
    interruptions,
    locking,
    pages,
    races,
    reports,
    resumes,
    sanitized,
    scripts,
    submissions,
    surroundings,
    sweeps,
)
from tools.reliability.outcome import Outcome

MEMORY_DISK = Path("/dev/shm")  # where fsync is quick, if it is there
WORKPLACE = MEMORY_DISK if MEMORY_DISK.is_dir() else None  # None: the usual folder

EVERY = 1_000_000  # a driver that has fewer attempts to make makes all of them
Driver = Callable[[int, random.Random, Path], Outcome]


@dataclass(frozen=True)
class Promise:
    """`count` attempts in full, `in_ci` of them in every CI run."""

    text: str
    shown: str
    driver: Driver
    count: int
    in_ci: int


PROMISES = {
    "kills": Promise(
        "A run killed at any moment resumes, ends as if nothing had happened, and no file is ever left "
        "unreadable",
        "SIGKILL at random moments, before or after a random file operation and in the middle of writes, "
        "again and again until the run is done; only runs that died are counted",
        interruptions.kills,
        300,
        30,
    ),
    "cuts": Promise(
        "A resumed run equals an uninterrupted one bit for bit: weights, moments, histories, labels, pages",
        "stopped at every epoch of a 24-epoch run, again one epoch later, every other one also while "
        "exporting; every implementation of the kernel and plain PyTorch",
        interruptions.cuts,
        interruptions.EPOCHS,
        2,
    ),
    "damage": Promise(
        "A damaged checkpoint is never loaded",
        "flipped bits, cut, swapped, zeroed and dropped pieces of a resumable checkpoint",
        hostile.damage,
        2_000,
        200,
    ),
    "crafted": Promise(
        "Opening someone's checkpoint runs no code",
        "pickles that call os.system, exec, eval, open and mkdir, in four kinds of file",
        hostile.crafted,
        20,
        20,
    ),
    "faults": Promise(
        "Disk full, read-only folder, no permission: one clear line, exit code 1, and what was there "
        "resumes",
        "ENOSPC, EACCES, EROFS and EIO at every file operation of a run",
        interruptions.faults,
        EVERY,
        8,
    ),
    "full_disk": Promise(
        "The same on a disk that is really full",
        "a tmpfs of 2 MB, with room left page by page from none to all that the run needs beside its "
        "pages; then it grows",
        surroundings.full_disk,
        EVERY,
        3,
    ),
    "signals": Promise(
        "SIGINT, SIGTERM and SIGHUP save the run and exit with 128+n; a second one leaves at once; one "
        "ignored at start stays ignored",
        "signals at random epochs",
        interruptions.signals,
        100,
        10,
    ),
    "any_json": Promise(
        "Any JSON given to the scripts gives a picture or one clear line and exit code 2, within 1 GB and "
        "a minute of the processor up to 40 MB, larger files in proportion",
        "mutated, ragged, huge, deeply nested, duplicate keys, NaN, 1e999, 5,000 digits, BOM, UTF-16; one "
        "in a thousand of 30 to 60 MB, with reason or without",
        hostile.any_json,
        10_000,
        500,
    ),
    "sweep_folders": Promise(
        "Of a sweep's folder every run is counted or named with its fault, whatever else lies there; the "
        "statistics are those of plain counting, and without a readable run nothing is written",
        "random mixtures of runs that grokked, generalised at once or first, collapsed, diverged or did "
        "nothing; each file damaged in every way, unfinished, not begun, repeated, of another setting, of "
        "older versions, without permission; other people's folders, links, pipes, names; the plan too",
        sweeps.sweep_folders,
        2_000,
        100,
    ),
    "sweep_resumes": Promise(
        "A resumed sweep makes every planned run end as if nothing had happened: what is whole stays, the "
        "damaged is kept aside and runs again, and of what cannot run the others do not suffer",
        "random mixtures of runs that have finished, diverged, stopped, not begun or were killed at any "
        "file operation; each file damaged in every way; other runs, files and closed folders in the "
        "place of a run; the plan damaged; resumed, then resumed once more",
        resumes.sweep_resumes,
        1_000,
        6,
    ),
    "reports": Promise(
        "A report on any run gives all its pages, of the newest weights that are there, or one clear line "
        "and everything as it was",
        "finished, stopped and diverged runs, with recorded weights or without, some with an older "
        "report; any file damaged in every way, or weights that vanish while they are read",
        reports.reports,
        1_000,
        8,
    ),
    "report_faults": Promise(
        "A report that the disk refuses leaves the run as it was and no page half-written, and is written "
        "in full when the disk has recovered",
        "ENOSPC, EACCES, EROFS and EIO at random file operations of a report",
        reports.report_faults,
        1_000,
        6,
    ),
    "lock_errors": Promise(
        "Only a lock that somebody holds is called in use; without locks the work goes on to the same end, "
        "and one line says what nothing guards",
        "flock fails with ENOLCK, ENOSYS, EOPNOTSUPP, EIO, EINTR or EWOULDBLOCK, at one call or at every "
        "one, of a run, a resumed run, a sweep with its runs, and a report; then it works again",
        locking.lock_errors,
        300,
        12,
    ),
    "sbatch_errors": Promise(
        "Whatever sbatch does, each job that it gave is told, on one line if it failed, and the folder can "
        "be submitted again; submitted, every run that is left is in exactly one task",
        "sbatch that refuses, talks nonsense, says nothing, hangs until a signal, dies, goes away, at any "
        "call; plans of 1 to 15 runs, array limits from none to more than enough, throttled or not",
        submissions.sbatch_errors,
        1_000,
        20,
    ),
    "script_faults": Promise(
        "A script on sweeps or surfaces that the disk refuses ends with one clear line and nothing "
        "half-written, or names what it could not read; when the disk has recovered, all is as ever",
        "ENOSPC, EACCES, EROFS and EIO at random file operations of the three scripts, over mixtures of "
        "runs as above and a surface, with older pages there or not",
        scripts.script_faults,
        1_000,
        10,
    ),
    "hostile_strings": Promise(
        "Nothing in a data file can run in the reader's browser, make it ask the network, or be written "
        "outside the chosen folder",
        "50 hostile strings in folder names and in every string and key of every JSON file of a sweep; "
        "each page opened in headless Chromium with a trap and a log of requests; counted in pages",
        pages.hostile_strings,
        50,
        1,
    ),
    "wrong_arguments": Promise(
        "Wrong arguments to the extension raise, never crash",
        "one argument or table spoiled: type, shape, stride, size 0, alignment, read-only, NaN, range; "
        "the extension built with AddressSanitizer",
        sanitized.wrong_arguments,
        5_000,
        500,
    ),
    "races": Promise(
        "Two runs in one folder do not mix: the second is refused, and a killed holder blocks nobody",
        "two processes started at once, then a holder killed",
        races.runs,
        50,
        5,
    ),
    "sweep_races": Promise(
        "Two sweeps in one folder do not mix: the second is refused at once, and a killed holder blocks "
        "nobody",
        "a second sweep started while the first is at work, then the first killed and resumed",
        races.sweeps,
        10,
        1,
    ),
    "divergence": Promise(
        "Divergence is reported at its epoch, and the histories stay strict JSON",
        "NaN planted in the step to each epoch",
        interruptions.divergence,
        50,
        5,
    ),
    "offline": Promise(
        "Works offline",
        "each command in a namespace without a network, every socket refused and noticed",
        surroundings.offline,
        EVERY,
        5,
    ),
    "same_bytes": Promise(
        "The same input gives the same bytes of every page",
        "the pages of a run, its report, its surfaces and its sweep, by each program that writes them: "
        "one thread against four for numpy, torch and the states of a report",
        pages.same_bytes,
        10,
        1,
    ),
}
