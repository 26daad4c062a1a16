"""Time a training epoch, an evaluation and the surfaces in every way people compute them.

    python scripts/bench.py [--quick] [--out FOLDER]     # published: --out docs/results

Checks first that all contestants compute the same thing. Then, for one thread and for all cores,
it runs them in turn, round after round, and reports medians. TransformerLens takes part if it is
installed (pip install -e .[bench]). On AMD processors torch's MKL avoids its AVX-512 path; there
the peers are timed both as installed and with that path switched on by a preloaded library.
The last line of the output is the JSON; --out writes bench.json and bench.md.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bench_report
import torch
from bench_machine import compile_fma_peak, describe, extra_memory, preload_avx512_mkl
from bench_peers import (
    Peer,
    Task,
    folded,
    last_position,
    make_task,
    textbook,
    transformer_lens,
)

from grokking import ops
from grokking.cores import available_cores
from grokking.extension import Kernel, choose_kernel, implementations
from grokking.model import fold

MODULI = [59, 113, 251, 509]
JOBS = ("epoch", "evaluate", "surfaces", "tables")


def gflop(task: Task) -> float:
    """Of the folded model on all pairs; a multiply-add counts twice."""
    return 2e-9 * ops.multiply_adds(fold(task.model()))


def contestants(task: Task, threads: int, compiled: bool) -> Iterator[Peer]:
    yield textbook(task)
    yield last_position(task, compiled=False)
    if compiled:
        yield last_position(task, compiled=True)
    with contextlib.suppress(ImportError):
        yield transformer_lens(task)
    for name in implementations():
        if name not in ("reference", "cuda"):
            yield folded(task, Kernel(name, threads))


def check_parity(peers: list[Peer]) -> None:
    """All start from the same weights: surfaces, loss and accuracy before, and loss after three epochs."""
    results = {}
    surfaces = peers[1].surfaces()
    for peer in peers:
        if peer.surfaces and not torch.allclose(peer.surfaces(), surfaces, rtol=1e-4, atol=1e-5):
            sys.exit(f"bench: {peer.name} computes other surfaces than {peers[1].name}")
        loss, accuracy = peer.evaluate()
        results[peer.name] = (loss, accuracy, [peer.epoch() for _ in range(3)][-1])
    expected = results[peers[0].name]
    for name, found in results.items():
        difference = max(abs(f - e) for f, e in zip(found, expected, strict=True))
        if not difference < 1e-3:
            sys.exit(f"bench: {name} computes {found}, {peers[0].name} {expected}")


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


def compare(threads: int, rounds: int, compiled: bool) -> dict[str, Any]:
    """Medians of every job for every contestant at p = 113, and the FMA peak beside them."""
    torch.set_num_threads(threads)
    peers = list(contestants(make_task(113), threads, compiled))
    check_parity(peers)
    found: dict[str, Any] = {}
    for job in JOBS:
        work = {peer.name: getattr(peer, job) for peer in peers if getattr(peer, job)}
        peaks: list[float] = []
        work["(peak)"] = lambda peaks=peaks: peaks.append(fma_peak())
        found[job] = interleaved(work, rounds)
        del found[job]["(peak)"]
        found[job + "_peak_gflops"] = statistics.median(peaks)
    return found


def scale(kernel: Kernel, rounds: int, moduli: list[int]) -> list[dict[str, float]]:
    """Epoch and evaluation of the kernel over the modulus, and time per pair beside its FLOP."""
    torch.set_num_threads(kernel.threads)
    rows = []
    for p in moduli:
        task = make_task(p)
        peer = folded(task, kernel)
        times = interleaved({"epoch": peer.epoch, "evaluate": peer.evaluate}, rounds)
        rows.append({"modulus": p, **times, "gflop": gflop(task)})
    base = next(row for row in rows if row["modulus"] == 113)
    for row in rows:
        time_ratio, flop_ratio = (row[key] / base[key] for key in ("evaluate", "gflop"))
        row["per_flop_against_113"] = time_ratio / flop_ratio
    return rows


def measure(rounds: int, compiled: bool) -> dict[str, Any]:
    counts = sorted({1, available_cores()})
    return {str(threads): compare(threads, rounds, compiled) for threads in counts}


def peers_with_avx512_mkl(arguments: argparse.Namespace) -> dict[str, Any] | None:
    """The comparison again in a process whose MKL believes to be on an Intel processor."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--only-compare"]
        command += ["--quick"] * arguments.quick + ["--no-compile"] * arguments.no_compile
        environment = {**os.environ, "LD_PRELOAD": str(preload_avx512_mkl(Path(folder)))}
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return dict(json.loads(done.stdout.splitlines()[-1]))


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rounds, small moduli; for a look")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write bench.json and bench.md")
    parser.add_argument("--only-compare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--both-mkl", action="store_true", help="as on AMD, on any processor")
    return parser.parse_args(arguments)


def main() -> None:
    arguments = parse()
    rounds = 5 if arguments.quick else 15
    global fma_peak
    fma_peak = compile_fma_peak()
    comparison = measure(rounds, not arguments.no_compile)
    if arguments.only_compare:
        print(json.dumps(comparison))
        return
    best = choose_kernel("auto", 1)
    machine = describe()
    both = arguments.both_mkl or "AMD" in machine["processor"]
    moduli = MODULI[:2] if arguments.quick else MODULI
    results = {
        "command": "python scripts/bench.py" + " --quick" * arguments.quick,
        "machine": machine,
        "rounds": rounds,
        "kernel": best.name,
        "threads": comparison,
        "threads_avx512_mkl": peers_with_avx512_mkl(arguments) if both else None,
        "scaling": scale(best, max(3, rounds // 3), moduli),
        "evaluate_extra_mb": {str(p): extra_memory(p, best.name) for p in moduli},
        "gflop": {"evaluate": gflop(make_task(113))},
    }
    text = bench_report.markdown(results)
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        record = json.dumps(results, indent=1) + "\n"
        (arguments.out / "bench.json").write_text(record, encoding="utf-8")
        (arguments.out / "bench.md").write_text(text, encoding="utf-8")
    print(text)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
