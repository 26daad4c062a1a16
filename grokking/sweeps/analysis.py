"""Statistics per cell of the sweep, verdicts and the laws of the delay: analysis_summary.json."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median_high, median_low
from typing import Any

from grokking.files import names
from grokking.files.json_files import finite_or_none, write_json
from grokking.schema import VERSION
from grokking.sweeps.axis import AXIS
from grokking.sweeps.delay_laws import RATES, delay_laws
from grokking.sweeps.folder import read_sweep
from grokking.sweeps.records import Cell, RunRecord, Sweep
from grokking.sweeps.scaling import Delays, delays_left_out, fit
from grokking.sweeps.survival import Observation, median_interval, median_time, wilson_interval
from grokking.sweeps.verdicts import Comparison, Verdict


def summarize_sweep(sweep: Sweep) -> dict[str, Any]:
    """Everything that analysis_summary.json holds."""
    pooled = {*sweep.fields} <= {*RATES} and not sweep.has_branches
    delays = _delays(sweep.runs) if pooled else {}
    return {
        "schema_version": VERSION,
        "sweep": sweep.directory.resolve().name,
        "runs_read": len(sweep.runs),
        "runs_not_counted": len(sweep.faults),
        "axes": [{"field": axis.field, "values": axis.values} for axis in sweep.axes],
        "cells": summarize_cells(sweep),
        **(_of_weight_decay(sweep) if sweep.by_weight_decay else {}),
        "delay_laws": [law.record() for law in delay_laws(sweep)],
        "delay_scaling": _scaling_record(delays),
        "delay_scaling_left_out": _left_out_records(delays),
        "verdicts": [_verdict_record(verdict) for verdict in sweep.verdicts()],
        "runs": [asdict(run) for runs in sweep.cells.values() for run in runs],
        "faults": [{"directory": f.directory, "fault": f.fault} for f in sweep.faults],
        "warnings": sweep.warnings,
        "conditions": [condition._asdict() for condition in sweep.conditions],
        "sessions": sweep.sessions,
    }


def summarize_cells(sweep: Sweep) -> list[dict[str, Any]]:
    """Statistics of each cell, in order."""
    return [_summarize_cell(sweep, cell, runs) for cell, runs in sweep.cells.items()]


def _summarize_cell(sweep: Sweep, cell: Cell, runs: Sequence[RunRecord]) -> dict[str, Any]:
    grokked = sum(run.grokked for run in runs)
    return {
        "values": dict(zip(sweep.fields, cell, strict=True)),
        "runs": [run.directory for run in runs],
        "outcomes": dict(sorted(Counter(run.outcome for run in runs).items())),
        "grokked_share": grokked / len(runs),
        "grokked_share_interval_95": wilson_interval(grokked, len(runs)),
        "memorization": _kaplan_meier(run.memorising for run in runs),
        "generalization": _with_interval([run.generalising for run in runs]),
        "grok": _with_interval([run.followed.observation for run in runs]),
        "delay": _kaplan_meier(run.observed_delay for run in runs),
        "grok_epoch": _spread(run.grok_epoch for run in runs),
        "final_training_accuracy": _spread(run.final_training_accuracy for run in runs),
        "final_validation_accuracy": _spread(run.final_validation_accuracy for run in runs),
        "seconds": _spread(run.seconds for run in runs),
    }


def _with_interval(observations: Sequence[Observation]) -> dict[str, Any]:
    interval = median_interval(observations)
    return {
        **_kaplan_meier(observations),
        "interval": None if interval is None else interval._asdict(),
    }


def _of_weight_decay(sweep: Sweep) -> dict[str, Any]:
    """The groups of a sweep of weight decay as they were before there were cells."""
    groups = [{AXIS.field: wd, **_summarize_group(runs)} for (wd,), runs in sweep.cells.items()]
    return {AXIS.key: groups}


def _summarize_group(runs: Sequence[RunRecord]) -> dict[str, Any]:
    grokked = sum(run.grokked for run in runs)
    return {
        "runs": len(runs),
        "grokked": grokked,
        "outcomes": dict(sorted(Counter(run.outcome for run in runs).items())),
        "collapsed": sum(run.collapse_epoch is not None for run in runs),
        "success_rate": grokked / len(runs),
        "success_rate_interval_95": wilson_interval(grokked, len(runs)),
        "grok_epoch": _spread(run.grok_epoch for run in runs),
        "kaplan_meier_grok_epoch": _kaplan_meier(run.followed.observation for run in runs),
        "kaplan_meier_delay": _kaplan_meier(run.observed_delay for run in runs),
        "censored_at": sorted(run.last_epoch for run in runs if not run.grokked),
        "memorization_epoch": _spread(run.memorization_epoch for run in runs),
        "delay": _spread(run.delay for run in runs),
        "final_training_accuracy": _spread(run.final_training_accuracy for run in runs),
        "final_validation_accuracy": _spread(run.final_validation_accuracy for run in runs),
        "seconds": _spread(run.seconds for run in runs),
    }


def _kaplan_meier(observations: Iterable[Observation | None]) -> dict[str, Any]:
    """Kaplan-Meier median, and the last time seen, beyond which a median of None lies."""
    known = [observation for observation in observations if observation is not None]
    return {"median": median_time(known), "followed_to": max((o.time for o in known), default=None)}


def _spread(values: Iterable[float | None]) -> dict[str, float | int | None]:
    """Median, minimum and maximum of the values that exist, and how many those are."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return {"count": 0, "median": None, "min": None, "max": None}
    low, high = median_low(known), median_high(known)
    middle = low if low == high else low / 2 + high / 2  # low + high may overflow
    return {"count": len(known), "median": middle, "min": known[0], "max": known[-1]}


def _delays(runs: Sequence[RunRecord]) -> dict[float, list[Observation]]:
    """Delays by timescale; no run's timescale is missing, though it has no delay to observe."""
    delays: dict[float, list[Observation]] = {}
    for run in runs:
        known = delays.setdefault(run.timescale, [])
        if run.observed_delay is not None:
            known.append(run.observed_delay)
    return delays


def _scaling_record(delays: Delays) -> dict[str, Any] | None:
    """The fit of delay against 1 / (learning rate * weight decay), if there is one to make."""
    scaling = fit(delays)
    if scaling is None:
        return None
    medians = [{"timescale": x, "median_delay": y} for x, y in scaling.medians.items()]
    return {**scaling._asdict(), "medians": medians}


def _left_out_records(delays: Delays) -> list[dict[str, Any]]:
    return [
        {"timescale": finite_or_none(timescale), "reason": reason}
        for timescale, reason in delays_left_out(delays).items()
    ]


def _verdict_record(verdict: Verdict) -> dict[str, Any]:
    return {
        "hypothesis": verdict.hypothesis,
        "claim": verdict.claim,
        "verdict": verdict.verdict,
        "reason": verdict.reason,
        **({} if verdict.comparison is None else _comparison_record(verdict.comparison)),
    }


def _comparison_record(tests: Comparison) -> dict[str, Any]:
    return {
        "permutation_p_one_sided": tests.permutation.p,
        "permutation_p_opposite": tests.opposite.p,
        "permutation_draws": tests.permutation.draws,  # None: exact
        "permutation_horizon": tests.horizon,
        "log_rank_chi2": tests.log_rank.chi2 if tests.log_rank else None,
        "log_rank_p_two_sided": tests.log_rank.p if tests.log_rank else None,
    }


def analyze(directory: Path) -> tuple[Sweep, dict[str, Any]]:
    """Read a sweep, write its analysis_summary.json, and return both."""
    sweep = read_sweep(directory)
    summary = summarize_sweep(sweep)
    write_json(directory / names.SUMMARY, summary)
    return sweep, summary
