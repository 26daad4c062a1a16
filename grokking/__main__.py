"""The command line: `python -m grokking` trains one run, its subcommands do the rest."""

import os
import sys
from importlib import import_module

from grokking import __version__, config
from grokking.commands.cli import environment, run_main
from grokking.system.errors import UserError

# numpy, imported later, works on matrices about 113 wide: more threads would only spin on the cores
# that the kernel uses.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

SUBCOMMANDS = {  # each a module of commands/
    "sweep": "sweep",
    "analyze": "analyze_sweep",
    "plot": "plot_sweep",
    "report": "report",
    "surface": "surface",
    "branch": "branch",
    "visualize": "surfaces",
    "export": "export",
    "import": "import_run",
    "doctor": "doctor",
}
USAGE = f"""\
usage: python -m grokking [--print-config | --help | --version]
       python -m grokking SUBCOMMAND [--help]

Without arguments: trains one run, configured by the environment variables below, and
writes its histories, checkpoints, activation surfaces and pictures into a folder.

  GROK_WEIGHT_DECAY=2.0 GROK_SKIP_VALIDATION=1 GROK_ARTIFACTS_DIR=wd2 python -m grokking

subcommands:
  sweep            train a grid of weight decays and seeds, analyse and plot it
  analyze SWEEP_DIR   statistics and verdicts of a sweep
  plot SWEEP_DIR   its pages
  report RUN_DIR   tell the story of a run and hold it against the paper's figures
  surface RUN_DIR NEURON...   draw neurons at any recorded epoch
  branch RUN_DIR --at EPOCH --output DIR [NAME=VALUE...]   go on from there with other settings
  visualize SURFACE.json   draw one exported surface
  export CHECKPOINT   write weights for TransformerLens, safetensors or numpy
  import FILE DIR  a run folder of weights that others have trained
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
    """The exit code of what the arguments ask for."""
    if not arguments:
        loaded = environment(strict=True)
        from grokking.commands.train import train_one  # with numpy, which a dry run does without

        return train_one(loaded)
    first, rest = arguments[0], arguments[1:]
    if first in ("--help", "-h", "help"):
        print(USAGE, end="")
    elif first == "--version":
        print(f"grokking {__version__}")
    elif first == "--print-config":
        from grokking.commands.train import print_config

        return print_config(environment(strict=True))
    elif first in SUBCOMMANDS:
        code: int = import_module(f"grokking.commands.{SUBCOMMANDS[first]}").main(rest)
        return code
    else:
        raise UserError(
            f"unknown argument {first!r}, expected {', '.join(SUBCOMMANDS)} or an option; see --help"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
