"""Time a training epoch, an evaluation and the surfaces in every way people compute them.

    python scripts/bench.py [--quick] [--against COMMIT] [--out FOLDER]    # published: --out docs/results

Trains the network whose weights are timed, then checks that all contestants compute the same thing. For
one thread and for all cores, it runs them in turn, round after round, and reports medians. With --against
it builds another commit and runs its epochs and this build's in turn, too. Who cannot take part on this machine
(TransformerLens needs pip install -e .[bench], torch.compile a C++ compiler) is listed with the
reason. On AMD processors torch's MKL avoids its AVX-512 path; there
the peers are timed both as installed and with that path switched on by a preloaded library.
The last line of the output is the JSON; --out writes bench.json and bench.md.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import bench_report
import torch
from bench_builds import build, compare_builds, full_name, phases
from bench_machine import compile_fma_peak, describe, extra_memory, fault, preload_avx512_mkl
from bench_peers import (
    COMPILED,
    TRANSFORMER_LENS,
    Peer,
    Task,
    folded,
    last_position,
    make_task,
    textbook,
    transformer_lens,
)
from bench_states import EPOCHS, QUICK_EPOCHS, train_states

from grokking.commands.cli import Parser, run_main
from grokking.files.json_files import check_writable
from grokking.kernels.backend import Backend, multiply_adds
from grokking.kernels.choice import AUTO, choose_on_cpu
from grokking.kernels.cpu import on_cpu
from grokking.model.transformer import fold
from grokking.system.cores import available_cores
from grokking.system.errors import RunError, UserError

MODULI = [59, 113, 251, 509]
JOBS = ("epoch", "late epoch", "evaluate", "surfaces", "tables")
T = TypeVar("T")


def gflop(task: Task) -> float:
    """Of the folded model on all pairs; a multiply-add counts twice."""
    return 2e-9 * multiply_adds(fold(task.model()))


def contestants(task: Task, threads: int, compiled: bool) -> tuple[list[Peer], dict[str, str]]:
    """Who can take part on this machine, and why each other cannot."""
    peers, left_out = [textbook(task), last_position(task, compiled=False)], {}
    others = {COMPILED: partial(last_position, compiled=True), TRANSFORMER_LENS: transformer_lens}
    if not compiled:
        del others[COMPILED]
        left_out[COMPILED] = "--no-compile was given"
    for name, make in others.items():
        try:
            peers.append(make(task))
        except (ImportError, RuntimeError) as error:
            left_out[name] = fault(str(error))
    kernels = [folded(task, one) for one in on_cpu(threads) if one.automatic]
    return [*peers, *kernels], left_out


def check_parity(peers: list[Peer]) -> None:
    """All start from the same weights: surfaces, loss and accuracy before, and loss after three epochs."""
    results = {}
    surfaces = peers[1].surfaces()
    for peer in peers:
        if peer.surfaces and not torch.allclose(peer.surfaces(), surfaces, rtol=1e-4, atol=1e-5):
            raise RunError(f"{peer.name} computes other surfaces than {peers[1].name}")
        loss, accuracy = peer.evaluate()
        results[peer.name] = (loss, accuracy, [peer.epoch() for _ in range(3)][-1])
    expected = results[peers[0].name]
    for name, found in results.items():
        difference = max(abs(f - e) for f, e in zip(found, expected, strict=True))
        if not difference < 1e-3:
            raise RunError(f"{name} computes {found}, {peers[0].name} {expected}")


def interleaved(work: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each, measured in turn.

    A turn is two calls, of which the second is timed: the caches then hold what the contestant's own
    last call left there, as in training, and not what another's left.
    """
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, call in work.items():
            time.sleep(0.01)  # until the idle threads of the one before have stopped spinning
            call()
            began = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(found) for name, found in times.items()}


def compare(
    threads: int,
    rounds: int,
    compiled: bool,
    fma_peak: Callable[[], float] | None,
    states: dict[int, dict[str, torch.Tensor]],
) -> dict[str, Any]:
    """Medians of every job for every contestant at p = 113, and the FMA peak beside them.

    On the weights of the first epoch of `states` after 0; the late epoch on those of the last.
    """
    torch.set_num_threads(threads)
    peers, left_out = contestants(make_task(113), threads, compiled)
    check_parity(peers)
    found: dict[str, Any] = {"left_out": left_out}
    for job in JOBS:
        for peer in peers:
            peer.load(states[max(states) if job == "late epoch" else sorted(states)[1]])
        call = job.removeprefix("late ")
        work = {peer.name: getattr(peer, call) for peer in peers if getattr(peer, call)}
        peaks: list[float] = []
        if fma_peak is not None:
            work["(peak)"] = lambda peaks=peaks: peaks.append(fma_peak())
        found[job] = interleaved(work, rounds)
        found[job].pop("(peak)", None)
        found[job + "_peak_gflops"] = statistics.median(peaks) if peaks else None
    return found


def scale(backend: Backend, rounds: int, moduli: list[int]) -> list[dict[str, float]]:
    """Epoch and evaluation of the kernel over the modulus, and time per pair beside its FLOP."""
    torch.set_num_threads(backend.threads)
    rows = []
    for p in moduli:
        task = make_task(p)
        peer = folded(task, backend)
        times = interleaved({"epoch": peer.epoch, "evaluate": peer.evaluate}, rounds)
        rows.append({"modulus": p, **times, "gflop": gflop(task)})
    base = next(row for row in rows if row["modulus"] == 113)
    for row in rows:
        time_ratio, flop_ratio = (row[key] / base[key] for key in ("evaluate", "gflop"))
        row["per_flop_against_113"] = time_ratio / flop_ratio
    return rows


def thread_counts() -> list[int]:
    return sorted({1, available_cores()})


def measure(
    rounds: int, compiled: bool, fma_peak: Callable[[], float] | None, states: Path
) -> dict[str, dict[str, Any]]:
    """The comparison by number of threads."""
    weights = torch.load(states)["weights"]
    return {
        str(threads): compare(threads, rounds, compiled, fma_peak, weights)
        for threads in thread_counts()
    }


def epochs_by_build(
    commit: str | None, states: Path, kernel: str, rounds: int, folder: Path
) -> dict[str, Any]:
    """The parts of this build's epoch, and its epochs beside those of another commit's build."""
    epochs = sorted(torch.load(states)["weights"])
    found: dict[str, Any] = {"epochs": epochs, "phases": {}, "against": None, "builds": {}}
    for threads in thread_counts():
        found["phases"][str(threads)] = phases(states, kernel, threads, epochs[1:], rounds)
    if commit is not None:
        found["against"] = full_name(commit)
        build(found["against"], folder)
        for threads in thread_counts():
            times = compare_builds(folder, states, kernel, threads, epochs, rounds)
            found["builds"][str(threads)] = times
    return found


def peers_with_avx512_mkl(arguments: argparse.Namespace, states: Path) -> dict[str, Any]:
    """The comparison again in a process whose MKL believes to be on an Intel processor.

    RuntimeError where the library that it needs cannot be compiled.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--only-compare", "--states", str(states)]
        command += ["--quick"] * arguments.quick + ["--no-compile"] * arguments.no_compile
        environment = {**os.environ, "LD_PRELOAD": str(preload_avx512_mkl(Path(folder)))}
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, check=False
        )
    if done.returncode != 0:
        raise RunError("the comparison with MKL's AVX-512 path failed, see above")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="bench.py", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rounds, small moduli; for a look")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--against", metavar="COMMIT", help="time that build in turn, too")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write bench.json and bench.md")
    parser.add_argument("--only-compare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--only-builds", action="store_true", help="the kernel alone: no peers")
    parser.add_argument("--states", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--both-mkl", action="store_true", help="as on AMD, on any processor")
    return parser.parse_args(arguments)


def main() -> None:
    arguments = parse()
    if arguments.out is not None:
        check_writable(arguments.out, "choose another --out")
    best = choose_on_cpu(AUTO, 1)
    if best.reason:
        raise UserError(f"there is no kernel to compare: {best.reason}")
    if arguments.against is not None:
        full_name(arguments.against)
    with tempfile.TemporaryDirectory() as folder:
        states = arguments.states or Path(folder) / "states.pt"
        if arguments.states is None:
            epochs = QUICK_EPOCHS if arguments.quick else EPOCHS
            train_states(choose_on_cpu(AUTO, available_cores()), epochs, states)
        if arguments.only_builds:
            rounds = 2 if arguments.quick else 7
            found = epochs_by_build(arguments.against, states, best.name, rounds, Path(folder))
            print(json.dumps(found))
        else:
            run(arguments, best, states, Path(folder))


def run(arguments: argparse.Namespace, best: Backend, states: Path, folder: Path) -> None:
    """Everything that is measured, printed and written."""
    rounds = 5 if arguments.quick else 15
    not_measured: dict[str, str] = {}
    fma_peak = attempt(compile_fma_peak, bench_report.PEAK, not_measured)
    comparison = measure(rounds, not arguments.no_compile, fma_peak, states)
    if arguments.only_compare:
        print(json.dumps(comparison))
        return
    machine = describe()
    both = arguments.both_mkl or "AMD" in machine["processor"]
    other_path = partial(peers_with_avx512_mkl, arguments, states) if both else lambda: None
    moduli = MODULI[:2] if arguments.quick else MODULI
    shown = " --quick" * arguments.quick
    shown += f" --against {arguments.against}" if arguments.against else ""
    results = {
        "command": f"python scripts/bench.py{shown}",
        "machine": machine,
        "rounds": rounds,
        "kernel": best.name,
        "threads": comparison,
        "threads_avx512_mkl": attempt(other_path, bench_report.AVX512_MKL, not_measured),
        "not_measured": not_measured,
        "scaling": scale(best, max(3, rounds // 3), moduli),
        "evaluate_extra_mb": {str(p): extra_memory(p, best.name) for p in moduli},
        "gflop": {"evaluate": gflop(make_task(113))},
        "trained": epochs_by_build(arguments.against, states, best.name, rounds // 2, folder),
    }
    text = bench_report.markdown(results)
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        record = json.dumps(results, indent=1) + "\n"
        (arguments.out / "bench.json").write_text(record, encoding="utf-8")
        (arguments.out / "bench.md").write_text(text, encoding="utf-8")
    print(text)
    print(json.dumps(results))


def attempt(make: Callable[[], T], what: str, not_measured: dict[str, str]) -> T | None:
    """What `make` gives; None where this machine cannot, with the reason noted under `what`."""
    try:
        return make()
    except RuntimeError as error:
        not_measured[what] = fault(str(error))
        return None


if __name__ == "__main__":
    sys.exit(run_main(main))
