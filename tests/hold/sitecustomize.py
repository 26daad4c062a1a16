"""On PYTHONPATH: a process waits for a signal when it has written a file named HOLD_AT.

So a test meets a run in the middle, however fast or busy the machine is.
"""

import os
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
replace = os.replace


def replace_and_wait(source, target, **directories):
    if os.path.basename(target) != os.environ.get("HOLD_AT"):
        return replace(source, target, **directories)
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # or it could come before the wait
    replace(source, target, **directories)
    received = signal.sigwait(SIGNALS)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    return signal.raise_signal(received)


os.replace = replace_and_wait
