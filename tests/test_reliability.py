"""A part of every promise of docs/RELIABILITY.md, with a fixed seed; the whole: tools/reliability."""

import multiprocessing
import os
import random
import tempfile
import threading
from pathlib import Path

import pytest

from tests.support import warm
from tests.support.environment import impossible
from tests.support.needs import NotPossible
from tools.reliability import PROMISES, WORKPLACE
from tools.reliability.__main__ import with_one_replaced
from tools.reliability.forked import differences, forked_run, outcome, preload

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def threadless():
    """A process without other threads, which has imported what every driver needs."""
    with warm.server().Pool(1, preload) as process:
        yield process


@pytest.fixture
def alone(threadless):
    """Calls a function in a fork of that process, from which drivers may fork in turn."""
    return lambda function, arguments: threadless.apply(in_a_fork, (function, arguments))


def in_a_fork(function, arguments):
    """What the function returns or raises there."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    child = os.fork()
    if child == 0:
        try:
            outcome = True, function(*arguments)
        except BaseException as error:
            outcome = False, error
        theirs.send(outcome)
        os._exit(0)
    theirs.close()
    try:
        returned, outcome = ours.recv()
    finally:
        os.waitpid(child, 0)
    if not returned:
        raise outcome
    return outcome


@pytest.mark.parametrize("name", PROMISES)
def test_the_promise_is_held(alone, name):
    promise = PROMISES[name]
    with tempfile.TemporaryDirectory(prefix="grokking_", dir=WORKPLACE) as folder:
        attempts = promise.in_ci, random.Random(1), Path(folder) / name
        try:
            result = alone(promise.driver, attempts)
        except NotPossible as reason:
            impossible(reason)
    assert result.broken == []
    assert result.tried >= promise.in_ci


def test_a_promise_is_published_anew_or_for_the_first_time_in_its_place():
    first, second, third = list(PROMISES)[:3]
    record = {"seed": 1, "promises": [{"name": first, "tried": 1}, {"name": third, "tried": 1}]}
    for name in (second, third):
        record = with_one_replaced(record, {"name": name, "tried": 2}, "abc")
    assert [(p["name"], p["tried"]) for p in record["promises"]] == [
        (first, 1),
        (second, 2),
        (third, 2),
    ]
    assert record["seed"] == 1 and record["promises"][1]["git_commit"] == "abc"


def test_the_comparison_notices_a_changed_weight_and_a_missing_file(alone, tmp_path):
    alone(two_runs, (tmp_path,))
    one, two = outcome(tmp_path / "one"), outcome(tmp_path / "two")
    assert {"checkpoint_latest.pt", "loss_history.json"} <= set(differences(one, two))
    os.remove(tmp_path / "two" / "measures.npy")
    assert "measures.npy" in differences(one, outcome(tmp_path / "two"))


def two_runs(folder):
    assert forked_run(folder / "one").code == 0
    assert forked_run(folder / "two", GROK_SEED="43").code == 0


def test_a_process_with_threads_does_not_fork(alone, tmp_path):
    with pytest.raises(AssertionError, match="2 threads"):
        alone(fork_beside_a_thread, (tmp_path,))


def fork_beside_a_thread(folder):
    done = threading.Event()
    threading.Thread(target=done.wait).start()
    try:
        forked_run(folder / "run")
    finally:
        done.set()
