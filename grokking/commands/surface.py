"""`python -m grokking surface RUN_DIR NEURON...`: any neuron of any run at any recorded epoch."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from grokking.api.run import Run
from grokking.api.state import State
from grokking.commands.cli import Parser
from grokking.files import names
from grokking.files.json_files import check_writable
from grokking.files.surfaces import surfaces_of, write_surface
from grokking.pictures.experiment import describe_experiment
from grokking.pictures.pages.surfaces import surface_facts, write_combined_page
from grokking.pictures.surface_views import surface_title
from grokking.system.errors import UserError

DESCRIBED = 3  # neurons whose statistics are printed in full


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the JSON and the page of the chosen neurons; UserError for those that are not there."""
    options = _parser().parse_args(arguments)
    if sum((bool(options.neurons), options.all, options.best is not None)) != 1:
        raise UserError("expected neurons by number, or --all, or --best N; see --help")
    directory: Path = options.run
    run = Run(directory, plain_errors=True)
    state, by_epoch = chosen_state(run, options.epoch)
    neurons = chosen_neurons(state, options)
    check_writable(directory, "the surfaces are written there")
    if options.epoch is not None and state.epoch != options.epoch:
        print(
            f"epoch {options.epoch:,} is not recorded; the nearest that is, {state.epoch:,}, is drawn"
        )
    pages = directory / names.PICTURES
    pages.mkdir(exist_ok=True)
    described = describe_experiment([directory], [state.epoch])
    for surface in surfaces_of(state.task, neurons, state.surfaces(neurons), state.epoch):
        path = write_surface(directory, surface, by_epoch)
        page = write_combined_page(pages / f"{path.stem}.html", surface, "shared", described)
        print(surface_title(surface))
        if len(neurons) <= DESCRIBED:
            for name, value in surface_facts(surface):
                print(f"  {name:36} {value}")
            print(f"  {path}\n  {page}")
    if len(neurons) > DESCRIBED:
        print(f"{len(neurons)} surfaces in {directory}, their pages in {pages}")
    return 0


def chosen_state(run: Run, epoch: int | None) -> tuple[State, bool]:
    """The network of the nearest recorded epoch, and is it another than the end of the run?"""
    if not run.epochs:
        raise UserError(f"{run.folder} has no recorded weights (its run had GROK_TRAJECTORY=0)")
    state = run.final if epoch is None else run.at(epoch)
    return state, not (run.finished and state.epoch == run.epochs[-1])


def chosen_neurons(state: State, options: argparse.Namespace) -> list[int]:
    """The neurons that are named, all, or the best."""
    d_mlp = len(state.weights["b_in"])
    if options.best is not None:
        if not 1 <= options.best <= d_mlp:
            raise UserError(f"--best is {options.best}, expected 1 to {d_mlp}")
        return state.most_periodic(options.best)
    outside = [neuron for neuron in options.neurons if not 0 <= neuron < d_mlp]
    if outside:
        raise UserError(f"neuron {outside[0]} is not there, expected 0 to {d_mlp - 1}")
    return list(range(d_mlp)) if options.all else list(dict.fromkeys(options.neurons))


def _parser() -> Parser:
    parser = Parser(
        prog="grokking surface",
        description="Write activation surfaces of a run, finished or not: "
        "activation_surface_neuron_{i}.json and a page for each neuron. Of another epoch than the "
        "run's last their names end with it.",
    )
    parser.add_argument("run", type=Path, metavar="RUN_DIR", help="folder of a run")
    parser.add_argument("neurons", type=int, nargs="*", metavar="NEURON", help="index, from 0")
    parser.add_argument(
        "--epoch", type=int, metavar="E", help="the nearest recorded one [the last]"
    )
    parser.add_argument("--all", action="store_true", help="every neuron")
    parser.add_argument("--best", type=int, metavar="N", help="the N that are most nearly one wave")
    return parser
