"""What a person sees while a run trains, and how often: lines, a bar, the histories on disk."""

import dataclasses
import io

import pytest

from grokking.commands.progress import PLAIN_INTERVAL, Progress, last_probe
from grokking.files.history import History, read_history
from grokking.system.durations import clock
from grokking.training.recorder import HISTORY_INTERVAL, Recorder
from grokking.training.state import append_probe, new_state
from tests.support.terminal import Clock, Terminal
from tests.support.training import CPU, TINY

HISTORY = History([0, 7], [4.7, 1.5e-7], [4.8, None], [0.01, 1.0], [0.0, 0.123])


def test_the_last_probe_in_words():
    expected = "loss 1.50e-07 (val not finite), accuracy 100.0% (val 12.3%)"
    assert last_probe(HISTORY) == expected


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (61, "1:01"), (3725, "1:02:05")])
def test_durations(seconds, text):
    assert clock(seconds) == text


@pytest.fixture
def time(monkeypatch):
    monkeypatch.setattr("time.monotonic", clock := Clock())
    return clock


def test_a_log_gets_a_plain_line_at_the_end_and_none_in_between(time):
    stream = io.StringIO()
    progress = Progress(0, 20, stream)
    for epoch in range(21):
        time.now += PLAIN_INTERVAL / 40
        progress.update(epoch, HISTORY)
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("epoch 20/20  loss 1.50e-07")
    assert line.endswith("0:00 left")


def test_a_log_gets_one_plain_line_per_interval_with_the_speed_since_the_start(time):
    stream = io.StringIO()
    progress = Progress(100, 2_000, stream)
    for step in range(1, 11):
        time.now += 0.3 * PLAIN_INTERVAL
        progress.update(100 + 30 * step, HISTORY)
        assert len(stream.getvalue().splitlines()) == step // 4
    speed = 100 / PLAIN_INTERVAL
    for line, epoch in zip(stream.getvalue().splitlines(), (220, 340), strict=True):
        assert line.startswith(f"epoch {epoch}/2000  loss 1.50e-07")
        left = clock((2_000 - epoch) / speed)
        assert line.endswith(f"  {speed:.1f} epochs/s  {left} left")


def test_the_histories_on_disk_are_renewed_once_per_interval(tmp_path, time):
    state = new_state(dataclasses.replace(TINY, checkpoint_every=1), CPU)
    recorder = Recorder(state, tmp_path)
    for epoch in range(1, 11):
        time.now += 0.3 * HISTORY_INTERVAL
        state.epoch = epoch
        append_probe(state, epoch, 1.0, 1.0, 0.0, 0.0)
        recorder.save_if_due()
        written = read_history(tmp_path).epochs if epoch >= 4 else []
        assert written == list(range(1, 4 * (epoch // 4) + 1))
        assert (tmp_path / "loss_history.json").exists() == (epoch >= 4)


def test_a_terminal_gets_a_bar_with_epoch_scores_speed_and_time_left(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setenv("LINES", "40")
    stream = Terminal()
    progress = Progress(0, 20, stream)
    progress.update(20, HISTORY)
    progress.close()
    for words in ("epoch 20/20 |", "val 12.3%", "epochs/s", "left"):
        assert words in stream.getvalue()
