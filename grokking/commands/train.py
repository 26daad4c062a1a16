"""`python -m grokking`: one run, from the variables of the environment; `--print-config` shows them."""

import sys
from pathlib import Path

from grokking import config
from grokking.files.folder import check_folder, check_free
from grokking.kernels import choice
from grokking.system.signals import graceful


def print_config(loaded: config.Loaded) -> int:
    """What every variable is, where that comes from, and what `auto` comes to here."""
    from grokking.training.run import resolved

    print(config.describe(loaded, resolved(loaded.config)))
    return 0


def train_one(loaded: config.Loaded) -> int:
    """Refuse what can be refused before torch is imported, then run; returns the exit code."""
    directory = Path(loaded.config.artifacts_dir)
    choice.check(loaded.config.kernel)
    check_folder(directory)
    if not (loaded.config.resume or loaded.config.overwrite):
        check_free(directory)
    from grokking.commands.progress import Progress
    from grokking.training.run import train_run

    with graceful() as stop:
        ended = train_run(loaded, Progress, stop)
    print(ended.message, file=sys.stdout if stop.number is None else sys.stderr)
    return ended.exit_code
