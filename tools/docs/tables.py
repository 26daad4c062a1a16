"""docs/results/*.json -> the tables of the docs, between markers that name them.

    python -m tools.docs.tables [--check]

A number in prose goes stale in silence; a table that a script wrote from a result file,
and that a test compares with it, does not.
"""

import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from grokking.analysis.published import GROK_EPOCHS
from grokking.commands.cli import Parser, run_main
from grokking.config import Config
from grokking.files.json_files import atomic_write_text, read_json
from grokking.files.markdown import table as markdown
from grokking.laws import NAMES
from grokking.sweeps.axis import words as field_words
from grokking.sweeps.phase_diagram import PHASES
from grokking.sweeps.tables import (
    LAW_HEADER,
    LAW_WORDS,
    condition_lines,
    law_rows,
    markdown_report,
    scaling_line,
)
from grokking.system.errors import UserError
from grokking.task import make_task
from tools.gpu import resources, roofline
from tools.gpu import tables as gpu_tables

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    *("README.md", "docs/NOTES.md", "docs/RELIABILITY.md", "docs/sweep.md", "docs/cuda.md"),
    *("docs/tasks.md", "docs/phases.md"),
    "docs/results/report_cards.md",
)
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def machine(record: Mapping[str, Any]) -> str:
    """Hardware, threads and versions of a result, in a sentence."""
    versions = record["versions"]
    threads = f"{record['threads']} thread{'s' if record['threads'] > 1 else ''}"
    return (
        f"{record['device_name']}, {threads}, kernel {record['kernel']}, torch {versions['torch']}, "
        f"Python {versions['python']}, commit {(versions.get('git_commit') or 'unknown')[:7]}, "
        f"{record['date']}."
    )


def note(record: Mapping[str, Any]) -> str:
    """What whoever measured wants the reader to know."""
    return f" {record['note']}" if record.get("note") else ""


def epoch(value: int | None) -> str:
    return "not by the end" if value is None else f"{value:,}"


def reference(results: Path) -> str:
    """The reference run of the README."""
    record = read_json(results / "reference_run.json")
    run = record["runs"][0]
    waves = [f"{w['neuron']} ({w['frequency']}, {w['share']:.1%})" for w in run["exported_neurons"]]
    minutes = run["seconds"] / 60
    rows = [
        ["training accuracy reaches 99 %", f"epoch {epoch(run['memorization_epoch'])}"],
        ["validation accuracy reaches 90 % and stays", f"epoch {epoch(run['grok_epoch'])}"],
        [
            f"validation accuracy first passes {', '.join(run['validation_accuracy_passes'])}",
            f"epochs {', '.join(map(epoch, run['validation_accuracy_passes'].values()))}",
        ],
        [
            f"validation accuracy at epoch {run['final_epoch']:,}",
            f"{run['final_validation_accuracy']:.2%}",
        ],
        [
            "time, every epoch measured on all 12,769 pairs",
            f"{minutes:.1f} minutes ({run['epochs_per_second']:.0f} epochs/s)",
        ],
        [
            "exported neurons with more than 85 % of their variance in one frequency",
            f"{run['single_frequency_neurons']} of {len(waves)}: neuron (frequency, share) {', '.join(waves)}",
        ],
    ]
    table = markdown(["the reference run: seed 42, weight decay 1.0", ""], rows)
    return f"{table}\n{machine(run)}{note(record)}\n"


def quickstart(results: Path) -> str:
    """What quickstart.sh downloads and leaves on disk."""
    record = read_json(results / "quickstart.json")
    size = {name: f"{count / 1e6:,.0f} MB" for name, count in record["bytes"].items()}
    rows = [
        ["packages to download", size["download"]],
        ["`.venv/`", size["environment"]],
        [f"a run of {record['epochs']:,} epochs with its pages, at most", size["run"]],
    ]
    of = record["versions"]
    return (
        f"{markdown(['', 'size'], rows)}\n{of['system']}, torch {of['torch']}, {record['date']}.\n"
    )


def paths(results: Path) -> str:
    """Grok epochs of the plain path and of the kernel, seed by seed, and the time to get there."""
    record = read_json(results / "kernel_and_plain.json")
    runs = record["runs"]
    by_seed: dict[int, dict[str, Any]] = {}
    for run in runs:
        by_seed.setdefault(run["seed"], {})[run["kernel"]] = run
    kernels = sorted({run["kernel"] for run in runs})
    rows = [
        [str(seed), *(_path(row[kernel]) if kernel in row else "-" for kernel in kernels)]
        for seed, row in sorted(by_seed.items())
    ]
    table = markdown(["seed", *(f"grok epoch, kernel {kernel}" for kernel in kernels)], rows)
    first = next(run for run in runs if run["kernel"] == kernels[0])
    return f"{table}\n{machine(first)}{note(record)}\n"


def _path(run: Mapping[str, Any]) -> str:
    """7,728 after 6.3 minutes (20.3 epochs/s, every epoch probed)."""
    every = run["variables"].get("GROK_PROBE_EVERY", 1)
    probed = "every epoch" if every == 1 else f"every {every} epochs"
    speed = f"({run['epochs_per_second']:.1f} epochs/s, probed {probed})"
    if run["grok_epoch"] is None:
        return f"{epoch(None)} {speed}"
    minutes = run["grok_epoch"] / run["epochs_per_second"] / 60
    return f"{epoch(run['grok_epoch'])} after {minutes:.1f} minutes {speed}"


SEED = "seed_"  # so begin the names of the reference experiment's runs among report_cards.json's


def report_cards(results: Path) -> str:
    """The paper's figures, and those of every seed of report_cards.json, one column each."""
    runs = [run for run in _card_runs(results) if run["name"].startswith(SEED)]
    return _cards(runs, "paper", "accepted")


def other_cards(results: Path) -> str:
    """The cards of the networks that are not the paper's converged one, one column each."""
    return _cards([run for run in _card_runs(results) if not run["name"].startswith(SEED)])


def controls(results: Path) -> str:
    """What the draws of each control give, run by run: median (lowest to highest)."""
    runs = _card_runs(results)
    rows = []
    for same in zip(*(run["card"]["rows"] for run in runs), strict=True):
        drawn = [row["control"] for row in same]
        if all(drawn):
            of = re.sub(r"^\d+ ", "as many ", drawn[0]["of"])
            rows.append([_what(same[0]), of, *map(_control, drawn)])
    return markdown(["", "drawn", *map(_named, runs)], rows)


def _card_runs(results: Path) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = read_json(results / "report_cards.json")["runs"]
    return runs


def _named(run: Mapping[str, Any]) -> str:
    """seed 42, weight decay 2: the name of its folder."""
    return str(run["name"].replace("_", " "))


def _cards(runs: list[dict[str, Any]], *columns: str) -> str:
    """Cards side by side, and before them what `columns` name of their first."""
    rows = []
    for same in zip(*(run["card"]["rows"] for run in runs), strict=True):
        cells = [f"{row['run']} **{row['verdict']}**" for row in same]
        rows.append([_what(same[0]), *(same[0][column] for column in columns), *cells])
    blank, cards = [""] * len(columns), [run["card"] for run in runs]
    judged = [f"{card['passed']} of {card['passed'] + card['failed']}" for card in cards]
    rows.append(["rows that pass, of those judged", *blank, *judged])
    if any(card["not_yet"] for card in cards):
        rows.append(["rows NOT YET", *blank, *(str(card["not_yet"]) for card in cards)])
    rows.append(
        ["validation accuracy", *blank, *(f"{r['final_validation_accuracy']:.2%}" for r in runs)]
    )
    rows.append(["at epoch", *blank, *(epoch(card["epoch"]) for card in cards)])
    return markdown(["", *columns, *map(_named, runs)], rows) + f"\n{machine(runs[0])}\n"


def _what(row: Mapping[str, Any]) -> str:
    """A row's name, without the weight decay of its run."""
    return str(row["what"]).split(" at weight decay")[0]


def _control(control: Mapping[str, Any]) -> str:
    if not control["draws"]:
        return "too few to draw from"
    low, high = control["range"]
    return f"{control['median']:.3g} ({low:.3g} to {high:.3g})"


def pages(results: Path) -> str:
    """Size and build time of the pages of a report, over the runs of report_cards.json."""
    record = read_json(results / "report_cards.json")
    runs = record["runs"]

    def megabytes(name: str) -> str:
        sizes = [run["pages"]["bytes"][name] / 1e6 for run in runs if name in run["pages"]["bytes"]]
        low, high = f"{min(sizes):.1f}", f"{max(sizes):.1f}"
        return f"{low} MB" if low == high else f"{low} to {high} MB"

    names = list(runs[0]["pages"]["bytes"])
    table = markdown(["page", "size"], [[f"`{name}`", megabytes(name)] for name in names])
    seconds = [run["pages"]["seconds"] for run in runs]
    return (
        f"{table}\n`grokking report` took {min(seconds):.0f} to {max(seconds):.0f} s for all of it; "
        f"{len(runs)} runs, {machine(runs[0])}{note(record)}\n"
    )


def tasks(results: Path) -> str:
    """Every run of tasks.json, in its own basis and in the additive one."""
    record = read_json(results / "tasks.json")
    rows = [
        [
            run["words"],
            _departing(run),
            str(run["seed"]),
            f"{run['outcome']}{_reached(run)}",
            f"{run['final_validation_accuracy']:.1%}",
            _key_blocks(run["own_basis"]),
            *(
                f"{seen['periodic_neurons'] / run['neurons']:.0%}" if seen else "-"
                for seen in _seen(run)
            ),
            *(f"{seen['W_L_gini']:.2f}" if seen else "-" for seen in _seen(run)),
        ]
        for run in record["runs"]
    ]
    header = ["task", "departing in", "seed", "outcome", "validation accuracy", "key blocks"]
    header += ["periodic neurons, own", "additive", "Gini, own", "additive"]
    return f"{markdown(header, rows)}\n{machine(record)}{note(record)}\n"


def task_medians(results: Path) -> str:
    """The same in a row a task: how many runs came to what, and medians over the seeds."""
    record = read_json(results / "tasks.json")
    by_task: dict[tuple[str, str], list[Any]] = {}
    for run in record["runs"]:
        by_task.setdefault((run["words"], _departing(run)), []).append(run)
    rows = []
    for (words, departing), runs in by_task.items():
        outcomes = Counter(run["outcome"] for run in runs)
        epochs = sorted(run["generalization_epoch"] or math.inf for run in runs)
        reached = [f"{e:,}" if e < math.inf else "not by the end" for e in epochs]
        rows.append(
            [
                words,
                departing,
                ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items()),
                ", ".join(reached),
                *(_median(runs, basis, "periodic_neurons") for basis in BASES),
                *(_median(runs, basis, "W_L_gini") for basis in BASES),
            ]
        )
    header = ["task", "departing in", "runs", "generalised at epoch"]
    header += ["periodic neurons, own basis", "additive", "Gini of W_L, own basis", "additive"]
    return f"{markdown(header, rows)}\n{machine(record)}{note(record)}\n"


def _departing(run: Mapping[str, Any]) -> str:
    """In which settings, beside the task and its size, a run is not the paper's."""
    settings = {k: v for k, v in run["settings"].items() if k not in ("task", "modulus")}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items()) or "-"


BASES = ("own_basis", "additive_basis")


def _median(runs: list[Any], basis: str, key: str) -> str:
    """Over the seeds; a share of the neurons, or a coefficient."""
    if runs[0][basis] is None:
        return "none known"
    value = median(
        run[basis][key] / (run["neurons"] if key == "periodic_neurons" else 1) for run in runs
    )
    return f"{value:.0%}" if key == "periodic_neurons" else f"{value:.2f}"


def _reached(run: Mapping[str, Any]) -> str:
    """At epoch 7,000; how far a run that has not generalised went."""
    if run["generalization_epoch"] is not None:
        return f" at epoch {run['generalization_epoch']:,}"
    return f" by epoch {run['final_epoch']:,}"


def _key_blocks(own: Mapping[str, Any] | None) -> str:
    if own is None:
        return "no basis known"
    keys, few = own["key_blocks"], len(own["key_blocks"]) <= own["blocks"] / 3
    return ", ".join(map(str, keys)) if few else f"{len(keys)} of {own['blocks']}"


def _seen(run: Mapping[str, Any]) -> list[Any]:
    """What it looks like in the task's own basis (None: none is known), and in the additive one."""
    return [run["own_basis"], run["additive_basis"]]


def task_tables(_: Path) -> str:
    """The answers of every named task but s5, at p = 7; a dot where there is no question."""
    parts = []
    for name in (name for name in NAMES if name != "s5"):
        task = make_task(name, 7)
        answers = np.full(49, ".", object)
        answers[task.questions] = task.targets.astype(str)
        rows = "\n".join("    " + " ".join(row) for row in answers.reshape(7, 7))
        parts.append(f"`{name}`: {task.law}, rows a, columns b\n\n{rows}\n")
    return "\n" + "\n".join(parts) + "\n"


def sweep(results: Path) -> str:
    """The default sweep: statistics, verdicts and conditions."""
    return markdown_report(read_json(results / "sweep.json"))


def extended_sweep(results: Path) -> str:
    """The sweep over five weight decays and five seeds."""
    return markdown_report(read_json(results / "sweep_extended.json"))


def delays(results: Path) -> str:
    """Published grok epochs beside those of the extended sweep, also in units of 1 / (lr x wd)."""
    summary = read_json(results / "sweep_extended.json")
    found = {group["weight_decay"]: group for group in summary["weight_decays"]}
    rows = []
    for weight_decay, published in GROK_EPOCHS.items():
        ours, units = "not run", ""
        timescale = 1 / (Config.learning_rate * weight_decay)
        if weight_decay in found:
            median = found[weight_decay]["kaplan_meier_grok_epoch"]["median"]
            ours = epoch(median)
            units = "" if median is None else f"{median / timescale:.1f}"
        rows.append([str(weight_decay), f"{timescale:,.0f}", published.told, ours, units])
    header = ["weight decay", "1 / (lr · wd)", "grok epoch in published logs", "KM median here"]
    table = markdown([*header, "in units of 1 / (lr · wd)"], rows)
    return f"{table}\n{scaling_line(summary)}\n"


def phase_diagram(results: Path) -> str:
    """The cells of phase_diagram.json, a row per value of its first axis: letter, count, median epoch."""
    summary = read_json(results / "phase_diagram.json")
    across, up = summary["axes"][1], summary["axes"][0]
    cells = {tuple(cell["values"].values()): cell for cell in summary["cells"]}
    rows = [
        [f"**{line}**", *(_phase(cells.get((line, column))) for column in across["values"])]
        for line in up["values"]
    ]
    header = [
        f"{field_words(up['field'])} \\ {field_words(across['field'])}",
        *map(str, across["values"]),
    ]
    return f"{markdown(header, rows)}\n{_conditions(summary)}\n"


def _phase(cell: Mapping[str, Any] | None) -> str:
    """G 2/3 at 1,230: the outcome of most runs, how many those are, and when half had generalised."""
    if cell is None:
        return ""
    leading = max(PHASES, key=lambda outcome: cell["outcomes"].get(outcome, 0))
    count, median_epoch = cell["outcomes"][leading], cell["generalization"]["median"]
    when = (
        f"> {cell['generalization']['followed_to']:,}"
        if median_epoch is None
        else f"{median_epoch:,}"
    )
    return f"{PHASES[leading].letter} {count}/{len(cell['runs'])}, {when}"


def _conditions(summary: Mapping[str, Any]) -> str:
    return " ".join(f"{line[0].upper()}{line[1:]}." for line in condition_lines(dict(summary)))


def phase_laws(results: Path) -> str:
    """What the delays of phase_diagram.json follow, at each train fraction."""
    return markdown(LAW_HEADER, law_rows(read_json(results / "phase_diagram.json")))


def law_ranges(results: Path) -> str:
    """Of each law of weight decay in phase_diagram.json: its slopes, and how many intervals hold 1."""
    laws = read_json(results / "phase_diagram.json")["delay_laws"]
    rows = []
    for name in ("timescale", "decay_time"):
        found = [law for law in laws if law["law"] == name]
        slopes, ratios = ([law[key] for law in found] for key in ("slope", "median_ratio"))
        held = sum(law["slope_interval_95"][0] <= 1 <= law["slope_interval_95"][1] for law in found)
        rows.append(
            [
                LAW_WORDS[name],
                f"{min(slopes):.2f} to {max(slopes):.2f}",
                f"{held} of {len(found)}",
                f"{min(ratios):.2f} to {max(ratios):.2f}",
            ]
        )
    return markdown(["x", "slopes", "95 % intervals that hold 1", "median delay / x"], rows)


def fractions(results: Path) -> str:
    """The sweep over the train fraction at p = 113: a row per fraction."""
    summary = read_json(results / "fractions.json")
    rows = []
    for cell in summary["cells"]:
        (fraction,) = cell["values"].values()
        told, interval = cell["generalization"], cell["generalization"]["interval"]
        high = "beyond" if interval["high"] is None else f"{interval['high']:,}"
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in cell["outcomes"].items())
        rows.append(
            [
                str(fraction),
                outcomes,
                f"{told['median']:,}" if told["median"] else f"> {told['followed_to']:,}",
                f"{interval['low']:,} to {high} ({interval['coverage']:.0%})",
                epoch(cell["memorization"]["median"]),
                f"{cell['delay']['median']:,}" if cell["delay"]["median"] is not None else "-",
            ]
        )
    header = [
        "train fraction",
        "runs",
        "generalised: KM median",
        "interval of it",
        "memorised",
        "delay",
    ]
    laws = law_rows(summary)
    table = f"{markdown(header, rows)}\n"
    return f"{table}{markdown(LAW_HEADER, laws)}\n{_conditions(summary)}\n"


def branches(results: Path) -> str:
    """The arms of branches.json beside the run that they fork from."""
    record = read_json(results / "branches.json")
    rows = [["the run itself", *_arm(record["run"], record["arms"][0]["at"])]]
    for arm in record["arms"]:
        changes = ", ".join(f"{name} = {value:g}" for name, value in arm["changes"].items())
        rows.append([changes or "no change: the control arm", *_arm(arm, arm["at"])])
    control = next(arm["compared"] for arm in record["arms"] if "compared" in arm)
    equal = control["histories_equal"] and control["last_checkpoint_equal"]
    header = ["from epoch {:,} on".format(record["arms"][0]["at"]), "outcome", "grok epoch"]
    header += ["validation accuracy at the end", "V at the fork", "V at the end"]
    return (
        f"{markdown(header, rows)}\nV: the sum of all squared weights. The control arm: "
        f"{control['recorded_epochs_equal']} of {control['recorded_epochs']} recorded weights, "
        f"{'all' if equal else 'NOT all'} of {control['probes']:,} probes and the last checkpoint equal to the "
        f"run's, bit for bit; V, which the later version adds up in another order, to within "
        f"{control['measures_largest_relative_difference']:.0e}. {machine(record)}{note(record)}\n"
    )


def _arm(arm: Mapping[str, Any], fork: int) -> list[str]:
    return [
        arm["outcome"],
        epoch(arm["grok_epoch"]),
        f"{arm['final_validation_accuracy']:.1%} at {arm['final_epoch']:,}",
        f"{arm['squares_at_fork']:,.0f}",
        f"{arm['squares_at_end']:,.0f}",
    ]


def bench(results: Path) -> str:
    """The best implementation against its peers, in ratios of medians."""
    record = read_json(results / "bench.json")
    ours = f"kernel {record['kernel']}"
    rows = []
    for peer in ("TransformerLens", "textbook PyTorch", *_LAST_POSITION):
        cells = []
        for found in record["threads"].values():
            for job in ("epoch", "late epoch", "evaluate", "surfaces"):
                cells.append(_ratio(found[job], peer, ours))
        if any(cell != "" for cell in cells):
            rows.append([peer, *cells])
    header = [
        f"{what}, {threads} thread{'s' if threads != '1' else ''}"
        for threads in record["threads"]
        for what in ("training epoch", "late epoch", "evaluation", "surfaces")
    ]
    computer = record["machine"]
    versions = ", ".join(f"{n} {computer[n]}" for n in ("torch", "transformer-lens", "python"))
    absent = {n: w for t in record["threads"].values() for n, w in t.get("left_out", {}).items()}
    left_out = "".join(f" Left out: {name} ({why})." for name, why in absent.items())
    return (
        markdown(["times slower than the kernel", *header], rows)
        + f"\n{computer['processor']}, kernel {record['kernel']}, {versions}, {computer['date']}; "
        f"medians of {record['rounds']} interleaved rounds.{left_out}\n"
    )


_LAST_POSITION = ("last position, eager", "last position, compiled")


def _ratio(times: Mapping[str, float], peer: str, ours: str) -> str:
    return f"{times[peer] / times[ours]:.1f}x" if peer in times else ""


def reliability(results: Path) -> str:
    """Each promise, what was tried, and how often it was broken."""
    record = read_json(results / "reliability.json")
    rows = [
        [p["text"], p["shown"], *_attempts(p), f"`--only {p['name']}`"] for p in record["promises"]
    ]
    table = markdown(["promise", "tried by", "attempts", "broken", "again"], rows)
    of = record["versions"]
    share = (
        "All attempts of `--full`, but of a promise that was tried again later as many as the table says"
        if record["full"]
        else "CI's share of the attempts; not yet run in full"
    )
    later = {p["name"]: p["git_commit"][:7] for p in record["promises"] if p.get("git_commit")}
    again = "".join(f" `{name}` again at commit {commit}." for name, commit in later.items())
    return (
        f"{table}\n{share}. Seed {record['seed']}, torch {of['torch']}, Python {of['python']}, commit "
        f"{(of['git_commit'] or 'unknown')[:7]}, {record['date']}.{again}\n"
    )


def promises(results: Path) -> str:
    """The same in short: each promise with its count."""
    lines = []
    for promise in read_json(results / "reliability.json")["promises"]:
        tried, broken = _attempts(promise)
        lines.append(f"- {promise['text']} (tried: {tried}; broken: {broken}).")
    return "\n".join(lines) + "\n"


def _attempts(promise: Mapping[str, Any]) -> tuple[str, str]:
    if promise["not_tried_because"]:
        return f"none: {promise['not_tried_because']}", "unknown"
    return f"{promise['tried']:,}", str(promise["broken_count"])


def on_gpu(show: Callable[[gpu_tables.Record | None], str]) -> Callable[[Path], str]:
    """A table of gpu.json, which is there once a GPU has run the kernel."""

    def made(results: Path) -> str:
        path = results / "gpu.json"
        return show(read_json(path) if path.exists() else None)

    return made


def registers(results: Path) -> str:
    """What ptxas said of every kernel."""
    uses = read_json(results / "registers.json")["uses"]
    return resources.table([resources.Use(**use) for use in uses])


TABLES: dict[str, Callable[[Path], str]] = {
    "reference": reference,
    "quickstart": quickstart,
    "paths": paths,
    "report_cards": report_cards,
    "other_cards": other_cards,
    "controls": controls,
    "pages": pages,
    "tasks": tasks,
    "task_medians": task_medians,
    "task_tables": task_tables,
    "sweep": sweep,
    "extended_sweep": extended_sweep,
    "delays": delays,
    "phase_diagram": phase_diagram,
    "phase_laws": phase_laws,
    "law_ranges": law_ranges,
    "fractions": fractions,
    "branches": branches,
    "bench": bench,
    "reliability": reliability,
    "promises": promises,
    "roofline": lambda _: roofline.table(),
    "registers": registers,
    "gpu": on_gpu(gpu_tables.summary),
    "gpu_statement": on_gpu(gpu_tables.statement),
    "gpu_measurements": on_gpu(gpu_tables.measurements),
}


def updated(text: str, results: Path) -> str:
    """The page with every marked table made anew; UserError for an unknown name."""

    def replace(match: re.Match[str]) -> str:
        name = match.group(2)
        if name not in TABLES:
            raise UserError(f"unknown table {name!r}, expected one of {', '.join(TABLES)}")
        return f"{match.group(1)}{TABLES[name](results)}{match.group(3)}"

    return MARKED.sub(replace, text)


def rewrite(root: Path = ROOT, check: bool = False) -> list[str]:
    """Make every page's tables anew; the names of those that changed, or with `check` would."""
    stale = []
    for page in (root / name for name in PAGES if (root / name).exists()):
        text = page.read_text(encoding="utf-8")
        new = updated(text, root / "docs" / "results")
        if new != text:
            stale.append(page.name)
            if not check:
                atomic_write_text(page, new)
    return stale


def main() -> int:
    """Rewrite the tables, or with --check say which page is out of date (exit code 1)."""
    parser = Parser(
        prog="python -m tools.docs.tables",
        description="Rewrite the docs' tables from docs/results.",
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if a page is stale"
    )
    check = parser.parse_args().check
    stale = rewrite(check=check)
    if stale:
        print(f"{'stale' if check else 'updated'}: {', '.join(stale)}")
    return 1 if stale and check else 0


if __name__ == "__main__":
    sys.exit(run_main(main))
