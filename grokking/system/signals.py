"""Leave a run politely: the first signal asks the loop to stop, the second leaves at once."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Set once a signal has asked the run to stop."""

    number: int | None = None  # of the signal

    @property
    def exit_code(self) -> int:
        return 128 + (self.number or 0)

    @property
    def name(self) -> str:
        return signal.Signals(self.number or 0).name


@contextmanager
def graceful() -> Iterator[StopRequest]:
    """Catch SIGINT, SIGTERM and SIGHUP while the block runs; ones ignored at start stay ignored."""
    request = StopRequest()

    def handle(number: int, frame: FrameType | None) -> None:
        if request.number is not None:
            os._exit(128 + number)
        request.number = number

    old = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number, handler in old.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, handle)
        yield request
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
