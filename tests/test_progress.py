"""What a person sees while a run trains."""

import fcntl
import io
import os
import pty
import struct
import termios

import pytest

from grokking.artifacts import History
from grokking.progress import Progress, clock, describe

HISTORY = History([0, 7], [4.7, 1.5e-7], [4.8, None], [0.01, 1.0], [0.0, 0.123])


def test_the_last_probe_in_words():
    expected = "loss 1.50e-07 (val not finite), accuracy 100.0% (val 12.3%)"
    assert describe(HISTORY) == expected


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (61, "1:01"), (3725, "1:02:05")])
def test_durations(seconds, text):
    assert clock(seconds) == text


def test_a_log_gets_a_plain_line_at_the_end_and_none_in_between():
    stream = io.StringIO()
    progress = Progress(0, 20, stream)
    for epoch in range(21):
        progress.update(epoch, HISTORY)
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("epoch 20/20  loss 1.50e-07")
    assert line.endswith("0:00 left")


def test_a_terminal_gets_a_bar_with_epoch_scores_speed_and_time_left():
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 140, 0, 0))
    with os.fdopen(theirs, "w") as stream:
        progress = Progress(0, 20, stream)
        progress.update(20, HISTORY)
        progress.close()
        shown = os.read(ours, 10_000).decode()
    os.close(ours)
    for words in ("epoch 20/20 |", "val 12.3%", "epochs/s", "left"):
        assert words in shown
