"""`python -m grokking import FILE DIR`: a run folder of weights that others have trained.

Torch-free until file and folder have been checked.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from shlex import quote

from grokking.commands.cli import Parser
from grokking.config import Config, load
from grokking.files.folder import check_folder, check_free, claimed
from grokking.files.json_files import check_input, check_writable
from grokking.kernels import choice
from grokking.laws import NAMES
from grokking.schema import EPOCH
from grokking.system.errors import UserError

DESCRIPTION = (
    "Make a run folder of weights that others have trained: of a TransformerLens state dict (in .npz and "
    ".safetensors too, as `grokking export` writes them), of the full_run_data.pth of Nanda et al. (2023), or "
    "of the dict that TransformerLens' Grokking_Demo saves. They must be this program's model: one "
    "layer, ReLU, no LayerNorm. Every state is evaluated on all pairs. An output for = is cut, and biases that "
    "this model lacks are folded where that is exact, and said, or else refused. How the weights were trained "
    "is not known, so they cannot be trained on; report, surface, export and Python take them as any run."
)
SEEDLESS = tuple(name for name in NAMES if name != "random")  # tasks that a name tells whole
ELSEWHERE = "--overwrite replaces it, or name another folder"


def main(arguments: Sequence[str] | None = None) -> int:
    """Import one file; UserError, before anything is written, for one that cannot be imported exactly."""
    parser = Parser(prog="grokking import", description=DESCRIPTION)
    parser.add_argument("file", type=Path, metavar="FILE", help="weights of one epoch or of many")
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to make of them")
    parser.add_argument(
        "--epoch",
        type=int,
        metavar="N",
        help="of the file's only or last weights, where it does not say that itself",
    )
    parser.add_argument(
        "--task",
        choices=SEEDLESS,
        help=f"what the weights compute, where the file does not say that itself [{Config.task}]",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the run that DIR holds")
    options = parser.parse_args(arguments)
    source, directory = options.file, options.folder
    if options.epoch is not None and not EPOCH.accepts(options.epoch):
        raise UserError(f"--epoch is {options.epoch}, expected {EPOCH.expected}")
    check_input(source)
    check_folder(directory, "DIR")
    if not options.overwrite:
        check_free(directory, ELSEWHERE)
    check_writable(directory, "name another folder")
    settings = load(os.environ, strict=False).config
    choice.check(settings.kernel)

    import torch
    from tqdm import tqdm

    from grokking.files.foreign import read_foreign
    from grokking.system.environment import choose_threads
    from grokking.training.imported import evaluate, write_imported
    from grokking.training.run import Machine

    backend = choice.choose_on_cpu(settings.kernel, choose_threads(settings.threads))
    machine = Machine(torch.device("cpu"), backend)
    torch.set_num_threads(backend.torch_threads)
    foreign = read_foreign(source, options.epoch)
    if foreign.task not in (None, *SEEDLESS):
        raise UserError(
            f"{source}: its weights compute {foreign.task}, expected one of {', '.join(SEEDLESS)}"
        )
    if foreign.task is not None and options.task not in (None, foreign.task):
        raise UserError(f"--task is {options.task}, but {source} says {foreign.task}; leave it out")
    foreign = foreign._replace(task=foreign.task or options.task or Config.task)
    imported = evaluate(foreign, machine, partial(tqdm, unit=" states", leave=False, disable=None))
    with claimed(directory):
        if not options.overwrite:
            check_free(directory, ELSEWHERE)
        described = write_imported(imported, directory, machine)
    epochs = list(foreign.states)
    states = f"{len(epochs)} states, epochs {epochs[0]:,} to" if epochs[1:] else "one state, epoch"
    print(f"{directory} holds the weights of {source}: {states} {epochs[-1]:,}")
    print(*described.sentences, sep="\n")
    print(f"next: python -m grokking report {quote(str(directory))}")
    print(f"      python -m grokking surface {quote(str(directory))} --best 12")
    return 0
