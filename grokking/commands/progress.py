"""What a person sees while a run trains: a live bar on a terminal, plain lines in a log."""

import sys
import time
from typing import Any, TextIO

from tqdm import tqdm

from grokking.files.history import History
from grokking.system.durations import clock

PLAIN_INTERVAL = 10.0  # seconds between plain lines


class Progress:
    """Shows the last probe, the speed and the time left; writes to stderr only."""

    def __init__(self, start: int, total: int, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.start, self.total = start, total
        self.began = self.shown = time.monotonic()
        self.bar: tqdm[Any] | None = None
        if self.stream.isatty():
            self.bar = tqdm(
                total=total,
                initial=start,
                unit=" epochs",
                file=self.stream,
                dynamic_ncols=True,
                bar_format="epoch {n_fmt}/{total_fmt} |{bar:16}| {desc}  {rate_noinv_fmt}  {remaining} left",
            )

    def update(self, epoch: int, history: History) -> None:
        """Called after each epoch; draws only as often as a person can read."""
        if self.bar is not None:
            self.bar.set_description_str(last_probe(history), refresh=False)
            self.bar.update(epoch - self.bar.n)
        elif time.monotonic() - self.shown >= PLAIN_INTERVAL or epoch == self.total:
            self.shown = time.monotonic()
            self.line(epoch, history)

    def line(self, epoch: int, history: History) -> None:
        """One plain line."""
        elapsed = time.monotonic() - self.began
        speed = (epoch - self.start) / elapsed if elapsed > 0 else 0.0
        left = f"{clock((self.total - epoch) / speed)} left" if speed else "no speed yet"
        print(
            f"epoch {epoch}/{self.total}  {last_probe(history)}  {speed:.1f} epochs/s  {left}",
            file=self.stream,
            flush=True,
        )

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()


def last_probe(history: History) -> str:
    """Losses and accuracies of the last probe."""
    loss, validation_loss = history.training_losses[-1], history.validation_losses[-1]
    accuracy, validation_accuracy = (
        history.training_accuracies[-1],
        history.validation_accuracies[-1],
    )
    return (
        f"loss {number(loss, '.2e')} (val {number(validation_loss, '.2e')}), "
        f"accuracy {number(accuracy, '.1%')} (val {number(validation_accuracy, '.1%')})"
    )


def number(value: float | None, spec: str) -> str:
    return "not finite" if value is None else format(value, spec)
