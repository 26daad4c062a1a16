"""Progress on a terminal and in a log, the run log, and the arithmetic of the estimate."""

import io

import pytest

from grokking.commands.sweep_screen import Screen, last_line
from grokking.sweeps.estimate import Measurement, disk_use, wall_time
from grokking.system.durations import clock
from tests.support.terminal import Clock, Terminal


@pytest.fixture(autouse=True)
def time(monkeypatch):
    monkeypatch.setattr("time.monotonic", clock := Clock())
    return clock


@pytest.fixture(autouse=True)
def refresh_at_once(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("grokking.commands.sweep_screen.TERMINAL_INTERVAL", 0.0)
    monkeypatch.setattr("grokking.commands.sweep_screen.PLAIN_INTERVAL", 0.0)


@pytest.fixture
def logs(tmp_path):
    """Logs of two running children."""
    for name, text in (("a", "epoch 1/9\nepoch 2/9\n\n"), ("b", "")):
        (tmp_path / name).write_text(text)
    return [(name, tmp_path / name) for name in ("a", "b")]


def test_a_terminal_shows_one_line_per_run_and_redraws_them_in_place(logs):
    screen = Screen(5, Terminal())
    screen.refresh(logs)
    block = "a  epoch 2/9\nb  starting\n0 of 5 runs done, 0:00:00 so far\n"
    assert screen.stream.getvalue() == block
    screen.refresh(logs)
    assert screen.stream.getvalue() == block + "\x1b[3F\x1b[J" + block


@pytest.mark.parametrize(
    ("stream", "interval"), [(Terminal, "TERMINAL_INTERVAL"), (io.StringIO, "PLAIN_INTERVAL")]
)
def test_a_refresh_shows_nothing_before_its_interval_is_over(
    logs, time, monkeypatch, stream, interval
):
    monkeypatch.setattr(f"grokking.commands.sweep_screen.{interval}", 20.0)
    screen = Screen(5, stream())
    for step in range(1, 11):
        time.now += 0.3 * 20.0
        screen.refresh(logs)
        assert screen.stream.getvalue().count("of 5 runs done") == step // 4
    assert "0 of 5 runs done, 0:00:24 so far\n" in screen.stream.getvalue()
    assert screen.stream.getvalue().endswith("0 of 5 runs done, 0:00:48 so far\n")


def test_on_a_terminal_the_block_comes_back_right_after_an_event(logs, monkeypatch):
    monkeypatch.setattr("grokking.commands.sweep_screen.TERMINAL_INTERVAL", 20.0)
    screen = Screen(5, Terminal())
    screen.event("c  finished")
    screen.refresh(logs)
    assert "a  epoch 2/9\n" in screen.stream.getvalue()


def test_an_event_replaces_the_block_and_stays_above_the_next(logs):
    screen = Screen(5, Terminal())
    screen.refresh(logs)
    screen.event("c  finished")
    screen.refresh(logs)
    block = "a  epoch 2/9\nb  starting\n0 of 5 runs done, 0:00:00 so far\n"
    assert screen.stream.getvalue() == block + "\x1b[3F\x1b[Jc  finished\n" + block


def test_without_a_terminal_there_are_plain_lines_only(logs):
    screen = Screen(5, io.StringIO())
    screen.refresh(logs)
    screen.event("c  finished")
    screen.refresh(logs)
    assert "\x1b" not in screen.stream.getvalue()
    assert screen.stream.getvalue().count("a  epoch 2/9\n") == 2


def test_lines_are_cut_to_the_width_of_the_terminal(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    (tmp_path / "log").write_text("x" * 100)
    screen = Screen(1, Terminal())
    screen.refresh([("run", tmp_path / "log")])
    assert max(map(len, screen.stream.getvalue().splitlines())) == 19


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", ""),
        (b"one\ntwo\n  \n", "two"),
        (b"\x1b[31mred\x07\n", "[31mred"),
        (b"half a character: \xc3", "half a character: \ufffd"),
        (b"x" * 10_000 + b"\nend\n", "end"),
    ],
)
def test_the_last_line_of_a_log(tmp_path, content, line):
    (tmp_path / "log").write_bytes(content)
    assert last_line(tmp_path / "log") == line


def test_a_log_that_is_not_there_has_no_last_line(tmp_path):
    assert last_line(tmp_path / "none") == ""


def test_durations_read_as_clocks():
    assert [clock(s, hours=True) for s in (0, 59.6, 3_661, 360_000)] == [
        "0:00:00",
        "0:01:00",
        "1:01:01",
        "100:00:00",
    ]


MEASURED = Measurement(
    epochs=60,
    epochs_per_second=100.0,
    overhead=10.0,
    seconds_per_state=None,
    growing_bytes=6_000,
    snapshot_bytes=1_000,
    other_bytes=5_000,
)


def test_wall_time_is_that_of_the_longest_run_first_schedule():
    assert wall_time([(1_000, MEASURED)], 4) == pytest.approx(20)
    assert wall_time([(1_000, MEASURED)] * 3, 2) == pytest.approx(40)
    runs = [(epochs, MEASURED) for epochs in (1_000, 1_000, 3_000)]
    assert wall_time(runs, 2) == pytest.approx(40)  # 3,000 beside the two


def test_reports_follow_the_runs_and_take_time_for_each_state_up_to_the_limit_of_a_trajectory():
    measured = MEASURED._replace(seconds_per_state=0.5)
    film = 40
    assert wall_time([(60, measured)], 4) == pytest.approx(0.6 + 10 + (61 + film) * 0.5 + 10)
    of_each = (200 + film) * 0.5 + 10
    assert wall_time([(1_000, measured)] * 3, 2) == pytest.approx(40 + 2 * of_each)
    without_trajectory = measured._replace(snapshot_bytes=0)
    assert wall_time([(1_000, without_trajectory)], 1) == pytest.approx(20 + 2 * 0.5 + 10)


def test_disk_use_grows_with_histories_and_measures_and_with_the_trajectory_up_to_its_limit():
    assert disk_use(60, MEASURED) == 6_000 + 61 * 1_000 + 5_000
    assert disk_use(6_000, MEASURED) == 600_000 + 200 * 1_000 + 5_000
