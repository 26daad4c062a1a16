"""The results of bench.py as a Markdown page for people."""

from typing import Any

from grokking.files.markdown import table

PEAK, AVX512_MKL = "FMA peak", "MKL's AVX-512 path"  # of results["not_measured"]
JOBS = {
    "epoch": "training epoch (30 % of the pairs: forward, backward, AdamW)",
    "late epoch": "the same near the end of a run, where the kernel leaves more out",
    "evaluate": "loss and accuracy of all 12,769 pairs",
    "surfaces": "all 512 activation surfaces",
}


def milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def times(comparison: dict[str, Any], ours: str) -> str:
    """Medians of every contestant, and how many times longer than the best kernel each takes."""
    header, rows = [""], {}
    for threads, found in comparison.items():
        for job in JOBS:
            header.append(f"{job}, {threads} thread{'s' * (threads != '1')}")
            best = found[job][ours]
            for name, value in found[job].items():
                rows.setdefault(name, {})[header[-1]] = (
                    f"{milliseconds(value)} ({value / best:.1f}x)"
                )
    for found in comparison.values():
        for name, reason in found["left_out"].items():
            rows.setdefault(name, {header[1]: f"left out: {reason}".replace("|", "\\|")})
    return table(
        header, [[name, *(row.get(h, "") for h in header[1:])] for name, row in rows.items()]
    )


def fractions(results: dict[str, Any], ours: str) -> str:
    """Share of the FMA peak that the kernel reaches in evaluating tables, by number of threads."""
    if PEAK in results["not_measured"]:
        return f"The FMA peak could not be measured ({results['not_measured'][PEAK]})."
    sentences = []
    for threads, found in results["threads"].items():
        peak = found["tables_peak_gflops"]
        rate = results["gflop"]["evaluate"] / found["tables"][ours] * 1e3
        share = rate / (peak * int(threads))
        sentences.append(
            f"{threads} thread{'s' * (threads != '1')}: {rate:.0f} GFLOP/s, {share:.0%} of "
            f"{int(threads)} x {peak:.0f} GFLOP/s"
        )
    return (
        "The evaluation of tables that are folded already, against the FMA peak measured in the same "
        f"rounds: {'; '.join(sentences)}."
    )


def scaling(results: dict[str, Any]) -> str:
    header = [
        "modulus",
        "epoch, ms",
        "evaluate, ms",
        "GFLOP",
        "time per FLOP against 113",
        "extra memory, MB",
    ]
    rows = [
        [
            str(row["modulus"]),
            milliseconds(row["epoch"]),
            milliseconds(row["evaluate"]),
            f"{row['gflop']:.2f}",
            f"{row['per_flop_against_113']:.2f}",
            str(results["evaluate_extra_mb"][str(row["modulus"])]),
        ]
        for row in results["scaling"]
    ]
    return table(header, rows)


def builds(results: dict[str, Any]) -> str:
    """Every epoch of this build beside the other's: milliseconds, and how many times less."""
    jobs = {"step": "training epoch", "probed": "with its probe", "surfaces": "512 surfaces"}
    header, rows = ["epoch"], {}
    trained = results["trained"]
    for threads, by_job in trained["builds"].items():
        for job, by_epoch in by_job.items():
            name = f"{jobs[job]}, {threads} thread{'s' * (threads != '1')}"
            header.append(name)
            sums: dict[str, float] = {}
            for epoch, of in by_epoch.items():
                rows.setdefault(epoch, {})[name] = versus(of)
                for build, value in of.items():
                    sums[build] = sums.get(build, 0.0) + value
            means = {build: total / len(by_epoch) for build, total in sums.items()}
            rows.setdefault("mean", {})[name] = versus(means)
    order = [*map(str, trained["epochs"]), "mean"]
    return table(header, [[epoch, *(rows[epoch][h] for h in header[1:])] for epoch in order])


def versus(of: dict[str, float]) -> str:
    other, this = of["the other"], of["this build"]
    return f"{milliseconds(other)} -> {milliseconds(this)} ({other / this:.2f}x)"


def shares(phases: dict[str, dict[str, float]]) -> str:
    """The parts of a probed epoch: milliseconds, and the share of the whole."""
    header = ["", *(f"{threads} thread{'s' * (threads != '1')}" for threads in phases)]
    alone = ("folding", "loss and gradient of the tables")  # called alone: parts of the step's call
    rows = []
    for name in next(iter(phases.values())):
        cells = []
        for of in phases.values():
            whole = sum(value for part, value in of.items() if part not in alone)
            cells.append(f"{milliseconds(of[name])} ({of[name] / whole:.0%})")
        rows.append([f"of it, called alone: {name}" if name in alone else name, *cells])
    return table(header, rows)


def trained(results: dict[str, Any]) -> list[str]:
    """What an epoch of this build is made of, and this build beside the other."""
    found = results["trained"]
    parts = [
        "## The parts of an epoch with its probe",
        "Medians in ms, the mean over the epochs of the table below but the first; in brackets the share "
        "of the epoch. Validation evaluates the other pairs by the tables that the step has left.",
        shares(found["phases"]),
    ]
    if found["against"]:
        parts += [
            "## Against another build",
            f"Trained weights of these epochs, commit {found['against'][:12]} and this one in turns: "
            "ms of the other, of this, and their ratio.",
            builds(results),
        ]
    return parts


def conditions(results: dict[str, Any]) -> str:
    """Hardware, versions, number of rounds and date: what a published number needs."""
    machine = results["machine"]
    packages = ("python", "torch", "numpy", "transformer-lens")
    versions = ", ".join(f"{name} {machine[name]}" for name in packages)
    return (
        f"`{results['command']}` on {machine['processor']} (family, model, stepping "
        f"{machine['family']}; {machine['cores']} cores; AVX-512: "
        f"{'yes' if machine['avx512'] else 'no'}), {machine['system']}, {versions}, "
        f"commit {machine.get('commit', 'unknown')}, {machine['date']}. "
        f"Trained weights of epoch {results['trained']['epochs'][1]:,} (late: "
        f"{results['trained']['epochs'][-1]:,}) and their own training pairs. Medians of "
        f"{results['rounds']} interleaved rounds in ms, of two calls in a row the second; in brackets, times "
        "what the best kernel takes. Every contestant starts "
        "from the same weights and was checked to compute the same losses and surfaces; all use fused "
        "AdamW. The kernel's times include the folding of the weights into its tables."
    )


def markdown(results: dict[str, Any]) -> str:
    """The whole page."""
    ours = f"kernel {results['kernel']}"
    parts = [
        "# Benchmark",
        conditions(results),
        "\n".join(f"- {job}: {what}" for job, what in JOBS.items()),
        times(results["threads"], ours),
        fractions(results, ours),
    ]
    not_switched = results["not_measured"].get(AVX512_MKL)
    if not_switched:
        parts.append(f"MKL's AVX-512 path could not be switched on ({not_switched}).")
    elif results["threads_avx512_mkl"]:
        parts.append("## With MKL's AVX-512 path switched on")
        parts.append(times(results["threads_avx512_mkl"], ours))
    else:
        parts.append(
            "MKL takes its fastest path on this processor by itself: peers are timed once."
        )
    parts += trained(results)
    parts += [f"## Over the modulus ({ours}, 1 thread, initial weights)", scaling(results)]
    return "\n\n".join(parts) + "\n"
