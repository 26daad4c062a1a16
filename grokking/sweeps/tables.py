"""analysis_summary.json -> the table and the verdicts as text: terminal, Markdown, page."""

from collections.abc import Sequence
from typing import Any

from grokking.files import markdown
from grokking.sweeps.axis import AXIS, named, value_words, words
from grokking.sweeps.verdicts import FAIL
from grokking.system.durations import clock

COLUMNS = (
    "grokked",
    "95 % interval",
    "grok epoch (range)",
    "KM median",
    "memorised",
    "delay",
    "accuracy train / val",
    "time",
)
LEGEND = (
    "95 % interval: Wilson's, of the share that grokked. Grok epoch: median and range of the runs that "
    "grokked. KM median, memorised, and delay from memorising to generalising: Kaplan-Meier medians, runs that "
    "did not get there censored at their last epoch; a run that generalised first has a delay of 0. "
    "Accuracy, time: medians; time is of the training loop."
)
Summary = dict[str, Any]


def header(summary: Summary) -> list[str]:
    """Of the table of cells: the axes, then what became of the runs."""
    return [*(words(axis["field"]) for axis in axes_of(summary)), *COLUMNS]


def rows(summary: Summary) -> list[list[str]]:
    """One row per cell, under header()."""
    return [_row(cell) for cell in cells_of(summary)]


def axes_of(summary: Summary) -> list[Summary]:
    """The axes of a sweep; an older summary, of a sweep of weight decay, does not name it."""
    values = [group[AXIS.field] for group in summary.get(AXIS.key, [])]
    return list(summary.get("axes", [{"field": AXIS.field, "values": values}]))


def cells_of(summary: Summary) -> list[Summary]:
    """The cells of a sweep, those of an older summary from its groups."""
    if "cells" in summary:
        return list(summary["cells"])
    return [
        {
            **group,
            "values": {AXIS.field: group[AXIS.field]},
            "runs": [None] * group["runs"],
            "grokked_share": group["success_rate"],
            "grokked_share_interval_95": group["success_rate_interval_95"],
            "memorization": {"median": group["memorization_epoch"]["median"], "followed_to": None},
            "grok": group["kaplan_meier_grok_epoch"],
            "delay": group["kaplan_meier_delay"],
        }
        for group in summary[AXIS.key]
    ]


def _row(cell: Summary) -> list[str]:
    low, high = cell["grokked_share_interval_95"]
    runs = len(cell["runs"])
    return [
        *map(value_words, cell["values"].values()),
        f"{round(cell['grokked_share'] * runs)} of {runs}",
        f"{low:.0%}-{high:.0%}",
        _with_range(cell["grok_epoch"]),
        _kaplan_meier(cell["grok"]),
        _kaplan_meier(cell["memorization"]),
        _kaplan_meier(cell["delay"]),
        f"{_percent(cell['final_training_accuracy'])} / {_percent(cell['final_validation_accuracy'])}",
        _time(cell["seconds"]["median"]),
    ]


def epoch_text(epoch: float | None) -> str:
    """7,588; a median of an even number of runs may end in a half. '-' if there is none."""
    return "-" if epoch is None else f"{epoch:,.1f}".removesuffix(".0")


def _with_range(spread: Summary) -> str:
    if spread["count"] < 2:
        return epoch_text(spread["median"])
    low, middle, high = (epoch_text(spread[key]) for key in ("min", "median", "max"))
    return f"{middle} ({low}-{high})"


def _kaplan_meier(estimate: Summary) -> str:
    """The median, or beyond which epoch it lies."""
    if estimate["median"] is None and estimate["followed_to"] is None:
        return "-"
    return (
        epoch_text(estimate["median"])
        if estimate["median"] is not None
        else f"> {estimate['followed_to']:,}"
    )


def _percent(spread: Summary) -> str:
    return "-" if spread["median"] is None else f"{spread['median']:.1%}"


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else clock(seconds)


def verdict_line(verdict: Summary) -> str:
    """H2 PASS: claim: reason (p-values)."""
    return (
        f"{verdict['hypothesis']} {verdict['verdict']}: {verdict['claim']}: "
        f"{verdict['reason']}{p_values(verdict)}."
    )


def p_values(verdict: Summary) -> str:
    """The tests that were made, in brackets; empty if there were no two groups to compare."""
    if "permutation_horizon" not in verdict:
        return ""
    return f" ({_permutation_words(verdict)}; {_log_rank_words(verdict)})"


def _permutation_words(verdict: Summary) -> str:
    p, draws = verdict["permutation_p_one_sided"], verdict.get("permutation_draws")
    order = ""
    if verdict["verdict"] == FAIL and "permutation_p_opposite" in verdict:
        p, order = verdict["permutation_p_opposite"], " for the opposite order"
    if p is None:
        return "no permutation test: too many runs for the version that analysed them"
    deals = f" from {draws:,} random deals" if draws else ""
    horizon = verdict["permutation_horizon"]
    return f"permutation p = {p:.2g} one-sided{order}{deals}, all followed to epoch {horizon:,}"


def _log_rank_words(verdict: Summary) -> str:
    p = verdict["log_rank_p_two_sided"]
    if p is None:
        return "no log-rank test: no event tells the groups apart"
    return f"log-rank p = {p:.2g} two-sided"


def scaling_line(summary: Summary) -> str:
    """The slope in words, and what is not in it; empty for fewer than three values of the axis."""
    scaling, left_out = summary["delay_scaling"], _left_out_words(summary)
    if scaling is not None:
        return f"{_slope_words(scaling)}{left_out}"
    if len(cells_of(summary)) < 3 or not left_out:
        return ""
    return (
        "The median delay is not fitted: that takes three values of 1 / (learning rate x weight "
        f"decay) whose median delay is above 0.{left_out}"
    )


def _slope_words(scaling: Summary) -> str:
    low, high = scaling["slope_interval_95"]
    within = "is" if low <= 1 <= high else "is not"
    return (
        f"The median delay grows as (1 / (learning rate x weight decay)) to the power "
        f"{scaling['slope']:.2f} (95 % bootstrap interval {low:.2f} to {high:.2f}): "
        f"proportionality, power 1, {within} within it."
    )


def _left_out_words(summary: Summary) -> str:
    entries = summary.get("delay_scaling_left_out", [])  # which older summaries have not
    scales = ["infinite" if e["timescale"] is None else f"{e['timescale']:,.6g}" for e in entries]
    reasons = [f"{scale} ({e['reason']})" for scale, e in zip(scales, entries, strict=True)]
    where = " Left out where 1 / (learning rate x weight decay) is"
    return f"{where} {', '.join(reasons)}." if reasons else ""


LAW_HEADER = ("x", "at", "slope", "95 % interval", "delay / x", "cells", "left out")
LAW_WORDS = {
    "timescale": "1 / (learning rate x weight decay)",
    "train_fraction": "train fraction",
    "decay_time": "log(V memorised / V grokked) / (learning rate x weight decay)",
}
LAW_LEGEND = (
    "The Kaplan-Meier median delay of each cell against what could explain it; a slope of 1 is exact "
    "proportion. V: the sum of all squared weights, of each run's own history, at the epoch of memorising and "
    "of generalising; weights that nothing but decay moved would take half of that time. The interval is from "
    "drawing the runs of every cell anew; delay / x is the median of the cells. Left out: cells without a "
    "median delay above 0."
)


def law_rows(summary: Summary) -> list[list[str]]:
    """One row per fitted law, under LAW_HEADER."""
    rows = []
    for law in summary["delay_laws"]:
        low, high = law["slope_interval_95"]
        at = named(tuple(law["at"]), tuple(law["at"].values())) or "-"
        fitted = [f"{law['slope']:.2f}", f"{low:.2f} to {high:.2f}"]
        counts = [str(len(law["points"])), str(law["left_out"])]
        rows.append([LAW_WORDS[law["law"]], at, *fitted, _ratio(law["median_ratio"]), *counts])
    return rows


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def condition_lines(summary: Summary) -> list[str]:
    """What the runs ran on and how long it all took, as far as that is recorded."""
    machines = dict.fromkeys(
        f"{c['device_name']}, kernel {c['kernel']}, threads per run: {c['threads']}, torch {c['torch']}, "
        f"Python {c['python']}, commit {c['git_commit'][:12]}"
        for c in summary["conditions"]
    )
    return [*machines, *session_lines(summary)]


def session_lines(summary: Summary) -> list[str]:
    """How long each sitting of the sweep took, wall clock."""
    lines = []
    for s in summary["sessions"]:
        runs, minutes = "run" if s["runs"] == 1 else "runs", s["seconds"] / 60
        lines.append(
            f"{s['runs']} {runs}, {s['jobs']} at a time, in {minutes:.1f} minutes of wall time"
        )
    return lines


def problem_lines(summary: Summary) -> list[str]:
    """Warnings, and every folder that is not in the statistics."""
    faults = summary["faults"]
    lines = [f"warning: {warning}" for warning in summary["warnings"]]
    if faults:
        lines.append(f"{len(faults)} not counted:")
        lines += [f"  {fault['directory']}: {fault['fault']}" for fault in faults]
    return lines


def terminal_report(summary: Summary) -> str:
    """Table, verdicts and problems for a terminal."""
    blocks = [
        aligned([header(summary), *rows(summary)]),
        [verdict_line(verdict) for verdict in summary["verdicts"]],
        [scaling_line(summary)] if scaling_line(summary) else [],
        condition_lines(summary),
        problem_lines(summary),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells in columns as wide as their widest cell."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def markdown_report(summary: Summary) -> str:
    """The same as Markdown: a table, and the verdicts as a list."""
    lines = [*(verdict_line(v) for v in summary["verdicts"]), scaling_line(summary)]
    lines += [*condition_lines(summary), *map(str.strip, problem_lines(summary))]
    notes = [f"- {line}" for line in lines if line]
    return (
        markdown.table(header(summary), rows(summary)) + "\n".join(["", LEGEND, "", *notes]) + "\n"
    )
