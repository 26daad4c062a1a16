"""What a test may need of the machine, and how it is said that this one does not offer it."""

import shutil
import subprocess


class NotPossible(Exception):
    """The machine lacks what is needed; the message says what."""


class NotPermitted(NotPossible):
    """It forbids what is needed, as most containers do: nothing that could be installed helps."""


def without_network() -> list[str]:
    """The words that cut off the command after them from the network."""
    unshare = shutil.which("unshare")
    if unshare is None:
        raise NotPossible("unshare is not installed")
    alone = [unshare, "--map-root-user", "--net"]
    tried = subprocess.run([*alone, "true"], capture_output=True, text=True)
    if tried.returncode != 0:
        raise NotPermitted(f"no program can be cut off from the network: {tried.stderr.strip()}")
    return alone
