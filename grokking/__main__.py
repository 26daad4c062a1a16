"""The command line: `python -m grokking` trains one run, its subcommands do the rest."""

import os
import sys
from pathlib import Path

from grokking import __version__, config
from grokking.commands.cli import environment, run_main
from grokking.system.errors import UserError

# numpy, imported later, works on matrices about 113 wide: more threads would only spin on the cores
# that the kernel uses.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

USAGE = f"""\
usage: python -m grokking [--print-config | --help | --version]
       python -m grokking SUBCOMMAND [--help]

Without arguments: trains one run, configured by the environment variables below, and
writes its histories, checkpoints, activation surfaces and pictures into a folder.

  GROK_WEIGHT_DECAY=2.0 GROK_SKIP_VALIDATION=1 GROK_ARTIFACTS_DIR=wd2 python -m grokking

subcommands:
  sweep            train a grid of weight decays and seeds, analyse and plot it
  report RUN_DIR   tell the story of a run and hold it against the paper's figures
  export CHECKPOINT   write weights for TransformerLens, safetensors or numpy
  doctor           say what is installed, which kernel runs and why, and what to mend
options:
  --print-config   show the value of every variable and where it comes from, and stop
  --help, -h       this text
  --version        {__version__}

variables [default; what is accepted; strict: a departure from the reference experiment
needs GROK_SKIP_VALIDATION=1]:
{config.help_text()}

exit codes: 0 done; 1 the run diverged or an input/output failure; 2 wrong input; 128+n signal n
"""


def main() -> int:
    """Entry point of `grokking` and `python -m grokking`."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's threads would slow the training's
    return run_main(lambda: dispatch(sys.argv[1:]))


def dispatch(arguments: list[str]) -> int:
    if not arguments:
        return train_one(environment(strict=True))
    first, rest = arguments[0], arguments[1:]
    if first in ("--help", "-h", "help"):
        print(USAGE, end="")
    elif first == "--version":
        print(f"grokking {__version__}")
    elif first == "--print-config":
        return print_config(environment(strict=True))
    elif first == "sweep":
        from grokking.sweeps.command import main as sweep

        return sweep(rest)
    elif first == "report":
        from grokking.commands.report import main as report

        return report(rest)
    elif first == "export":
        from grokking.commands.export import main as export

        return export(rest)
    elif first == "doctor":
        from grokking.commands.doctor import main as doctor

        return doctor(rest)
    else:
        raise UserError(
            f"unknown argument {first!r}, expected sweep, report, export, doctor or an option; see --help"
        )
    return 0


def print_config(loaded: config.Loaded) -> int:
    from grokking.training.run import resolved

    print(config.describe(loaded, resolved(loaded.config)))
    return 0


def train_one(loaded: config.Loaded) -> int:
    """Refuse what can be refused before torch is imported, then run."""
    from grokking.files.folder import check_folder, check_free
    from grokking.kernels import choice

    directory = Path(loaded.config.artifacts_dir)
    choice.check(loaded.config.kernel)
    check_folder(directory)
    if not (loaded.config.resume or loaded.config.overwrite):
        check_free(directory)
    from grokking.training.run import run

    return run(loaded)


if __name__ == "__main__":
    sys.exit(main())
