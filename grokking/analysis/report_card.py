"""The paper's figures beside a run's, row by row, with tolerances fixed before any measuring.

The paper (see published.py) gives one run's figures and no spread, so one rule serves every share:
what its circuit leaves unexplained may be TWICE as much here. Where it claims a direction ("the loss
improves") the direction is the tolerance. judging.py has the rules of the verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from grokking.analysis import published
from grokking.analysis.judging import (
    FAIL,
    MODEL,
    NOT_JUDGED,
    NOT_KNOWN,
    NOT_YET,
    PASS,
    Claim,
    Findings,
    Measured,
    Row,
    RowVerdict,
    judged,
    not_computing,
    of_other_settings,
)
from grokking.analysis.phases import phases_rule
from grokking.fourier import Basis
from grokking.task import Group

if TYPE_CHECKING:  # at run time that would import torch
    from grokking.analysis.controls import Control

TWICE = 2.0
KEY_COUNTS = (3, 6)  # the paper's range of 3 to 5, and one more
EPOCH_FACTOR = 3.0  # ten published grok epochs lie between 4,000 and 10,500: a factor of 2.6
ROUNDING_SPREAD = 0.3  # by this much the same seed on another machine moves its grok epoch


def judge_run(findings: Findings) -> list[Row]:
    """All rows, in the order of the paper's argument; without a basis those that need none."""
    epochs = [_phases(findings), _grok_epoch(findings)]
    now, controls, group = findings.now, findings.controls, findings.task.group
    if now is None or controls is None or group is None:
        return [_no_basis(findings), *epochs]
    functions = _functions(group)
    claims = [
        _keys(group.basis, controls.key_count),
        _neurons(group.basis, findings.d_mlp, controls.periodic_share),
        _residual(group.basis, controls.residual),
        _directions(group),
        _cosines(group),
        _restricted(functions, controls.restricted_loss),
        _on_directions(group.basis, controls.on_directions),
        _on_null_space(findings.task.guesses, controls.on_null_space),
    ]
    return [
        *(_row(claim, findings, now) for claim in claims),
        _excluded(now, functions, controls.excluded_loss, findings.has_split),
        *epochs,
    ]


def _no_basis(findings: Findings) -> Row:
    what = "the circuit: key frequencies, neurons, W_L, logits, ablations"
    reason = f"no basis is known in which {findings.task.words} would be sparse"
    return Row(what, "of addition", "-", None, "-", NOT_JUDGED, reason, None, "not measured")


def _functions(group: Group) -> str:
    """What the key blocks' functions of the answer are called."""
    if group.basis.kind == "frequency":
        return f"cos, sin(w_k ({group.answer}))"
    return f"the key {group.basis.plural} of {group.answer}"


def _row(claim: Claim, findings: Findings, now: Measured) -> Row:
    verdict, value = judged(claim, findings, now), claim.value(now)
    numbers = value if isinstance(value, list) else [value]
    finite = all(  # shares of what does not vary are NaN
        isinstance(number, str) or math.isfinite(number) for number in numbers
    )
    elsewhere = claim.carries_over and any(name in findings.departures for name in MODEL)
    return Row(
        claim.what,
        claim.paper,
        claim.shown(now) if finite else "not a number",
        value if finite else None,
        f"{claim.accepted}; carries over to any task and size" if elsewhere else claim.accepted,
        verdict.word,
        verdict.reason,
        claim.control,
        claim.definition,
    )


def _above(value: float, most: float) -> float:
    return max(value - most, 0.0) if not math.isnan(value) else math.nan


def _below(value: float, least: float) -> float:
    return _above(-value, -least)


# --- claims ----------------------------------------------------------------------------------


def _keys(basis: Basis, control: Control) -> Claim:
    fewest, most = KEY_COUNTS
    few, many = published.OTHER_SEEDS_KEYS
    return Claim(
        f"key {basis.plural}",
        f"{', '.join(map(str, published.KEY_FREQUENCIES))} (other seeds: {few} to {many} of them)",
        f"{fewest} to {most} of them, whichever: the paper's range and one more",
        f"{basis.plural} whose norm in W_L = W_out W_U across the classes, its functions together and "
        "over the root of their number, exceeds a quarter of the largest (the paper publishes no threshold)",
        shown=lambda m: _listed(m, basis),
        value=lambda m: [basis.label(k) for k in m.key_frequencies],
        distance=lambda m: max(
            _above(len(m.key_frequencies), most), _below(len(m.key_frequencies), fewest)
        ),
        control=control,
        figure=lambda m: float(len(m.key_frequencies)),
    )


def _listed(m: Measured, basis: Basis) -> str:
    """The blocks; only how many they are where a network has no few."""
    if len(m.key_frequencies) > TWICE * KEY_COUNTS[1]:
        return f"{len(m.key_frequencies)} of them"
    return ", ".join(str(basis.label(k)) for k in m.key_frequencies) or "none"


def _neurons(basis: Basis, d_mlp: int, control: Control) -> Claim:
    share = published.PERIODIC_NEURONS / published.ALL_NEURONS
    waves = " (1, cos, sin: 3 x 3)" if basis.kind == "frequency" else ""
    least = 1 - TWICE * (1 - share)
    return Claim(
        f"neurons with > 85 % of their variance in one {basis.kind}",
        f"{published.PERIODIC_NEURONS} of {published.ALL_NEURONS} ({share:.1%})",
        f"at least {least:.1%}: twice the paper's rest",
        f"variance of post-ReLU activations at = over all questions; each {basis.kind} has as its share "
        f"its block of products of (1, its functions) of a and of b{waves}, the constant left out",
        shown=lambda m: f"{m.periodic_neurons} of {d_mlp} ({m.periodic_neurons / d_mlp:.1%})",
        value=lambda m: m.periodic_neurons / d_mlp,
        distance=lambda m: _below(m.periodic_neurons / d_mlp, least),
        control=control,
        figure=lambda m: m.periodic_neurons / d_mlp,
        below=False,
    )


def _residual(basis: Basis, control: Control) -> Claim:
    most = TWICE * published.RESIDUAL
    each = "two directions" if set(basis.sizes) == {2} else "all directions"
    return Claim(
        f"W_L: residual after {each} for each key {basis.kind}",
        f"< {published.RESIDUAL:.2%} (10 directions)",
        f"at most {most:.2%} of the squared norm: twice the paper's",
        f"share of W_L's squared norm outside the functions of c of the key {basis.plural}. In brackets, not "
        "judged: the same as a share of the norm, and what the best approximation of that rank leaves of "
        "the norm. The paper says norm; its own figure of W_L shows more than that outside the waves, so "
        "it is read here as a share of squares, as its code measures fits (NOTES, 4.5)",
        shown=lambda m: (
            f"{m.residuals.on_waves_squared:.2%} of the squared norm ({m.residuals.on_waves:.2%} of the "
            f"norm; best rank: {m.residuals.best_rank:.2%})"
        ),
        value=lambda m: m.residuals.on_waves_squared,
        distance=lambda m: _above(m.residuals.on_waves_squared, most),
        control=control,
        figure=lambda m: m.residuals.on_waves_squared,
    )


def _directions(group: Group) -> Claim:
    low, high = published.DIRECTIONS_EXPLAINED
    least = 1 - TWICE * (1 - low)
    element = "log c" if group.listed else "c"

    def explained(m: Measured) -> list[float]:
        return [fit.explained for fit in m.direction_fits]

    return Claim(
        f"u_k, v_k: variance explained by one cos or sin(w_k ({group.answer}))"
        if group.basis.kind == "frequency"
        else f"directions of the key irreps: variance explained by the irrep of {group.answer}",
        f"{100 * low:.1f} to {100 * high:.1f} %",
        f"each at least {least:.1%}: twice the paper's rest",
        f"f(a, b) = post . u_k with u_k = W_L cos(w_k {element}), over all questions, fitted by a constant and "
        "a multiple of the cosine of the answer's element; v_k likewise with sin; 1 - residual variance / "
        "variance"
        if group.basis.kind == "frequency"
        else "f(a, b) = post . (W_L g) for each function g of a key irrep, over all questions, fitted by a "
        "constant and the irrep's functions of the answer; 1 - residual variance / variance",
        shown=lambda m: (
            f"{min(explained(m)):.1%} to {max(explained(m)):.1%}" if explained(m) else "none"
        ),
        value=explained,
        distance=lambda m: _below(min(explained(m)), least) if explained(m) else math.nan,
    )


def _cosines(group: Group) -> Claim:
    least, answer = (
        1 - TWICE * (1 - published.COSINES_EXPLAIN),
        " - log c" if group.listed else "-c",
    )
    return Claim(
        f"logits: variance explained by a sum of cos(w_k ({group.answer}{answer}))"
        if group.basis.kind == "frequency"
        else "logits: variance explained by a sum of the key irreps' characters of a b c^-1",
        f"{published.COSINES_EXPLAIN:.0%}",
        f"at least {least:.0%}: twice the paper's rest",
        f"least squares over the logits of all questions, one amplitude for each key {group.basis.kind}; "
        "each question's mean logit, which the softmax does not see, removed",
        shown=lambda m: f"{m.cosines_explain:.1%}",
        value=lambda m: m.cosines_explain,
        distance=lambda m: _below(m.cosines_explain, least),
    )


def _loss(loss: float) -> str:
    """2.4e-7, as the paper writes it."""
    mantissa, _, exponent = f"{loss:.1e}".partition("e")
    return (
        f"{loss:.2f}" if loss >= 0.1 or not math.isfinite(loss) else f"{mantissa}e{int(exponent)}"
    )


def _becomes(full: float, ablated: float) -> str:
    return f"{_loss(full)} becomes {_loss(ablated)}"


def _orders(loss: float, most: float) -> float:
    """How far a loss lies above another, on a log scale."""
    if not (loss > 0 and most > 0):
        return _above(loss, most)
    return _above(math.log(loss), math.log(most))


def _restricted(functions: str, control: Control) -> Claim:
    return Claim(
        f"ablation: logits restricted to {functions}",
        _becomes(published.FULL_LOSS, published.RESTRICTED_LOSS),
        "the loss does not rise (the paper's claim), and is lower than with any draw of the control",
        f"restricted loss: cross-entropy over all questions of the logits' projection on {functions}, "
        "plus the mean of each logit over all questions",
        shown=lambda m: _becomes(m.ablation.full, m.restricted_loss),
        value=lambda m: [m.ablation.full, m.restricted_loss],
        distance=lambda m: _orders(m.restricted_loss, m.ablation.full),
        control=control,
        figure=lambda m: m.restricted_loss,
        carries_over=True,
    )


def _on_directions(basis: Basis, control: Control) -> Claim:
    span = (
        "u_k and v_k"
        if basis.kind == "frequency"
        else f"W_L g, g a function of a key {basis.kind},"
    )
    return Claim(
        "ablation: MLP output on the key directions of W_L only",
        _becomes(published.FULL_LOSS, published.ON_DIRECTIONS_LOSS),
        f"at most {TWICE:g} times the loss of the whole model, and lower than with any draw of the control",
        f"post projected onto the span of all {span} in R^d_mlp; what passes by the MLP, and "
        "all biases, as they are; all questions",
        shown=lambda m: _becomes(m.ablation.full, m.ablation.on_key_directions),
        value=lambda m: [m.ablation.full, m.ablation.on_key_directions],
        distance=lambda m: _orders(m.ablation.on_key_directions, TWICE * m.ablation.full),
        control=control,
        figure=lambda m: m.ablation.on_key_directions,
        carries_over=True,
    )


def _on_null_space(classes: int, control: Control) -> Claim:
    guess = math.log(classes)
    return Claim(
        "ablation: MLP output without the key directions",
        _loss(published.ON_NULL_SPACE_LOSS),
        f"at least {guess / TWICE:.2f}, half of ln {classes} = {guess:.2f}, the loss of guessing, and "
        "higher than with any draw of the control",
        "post projected onto the complement of that span; otherwise as above",
        shown=lambda m: _loss(m.ablation.on_null_space),
        value=lambda m: m.ablation.on_null_space,
        distance=lambda m: _below(m.ablation.on_null_space, guess / TWICE),
        control=control,
        figure=lambda m: m.ablation.on_null_space,
        below=False,
        carries_over=True,
    )


# --- rows that are no claims of one state ----------------------------------------------------


def _excluded(now: Measured, functions: str, control: Control, has_split: bool) -> Row:
    over = "the training" if has_split else "all"
    beside = f" (all questions: {now.excluded_loss_all_pairs:.2f})" if has_split else ""
    return Row(
        "excluded loss",
        "rises to above guessing (figure only)",
        f"{now.excluded_loss:.2f}{beside}",
        [now.excluded_loss, now.excluded_loss_all_pairs],
        "no figure is published",
        NOT_JUDGED,
        "no figure is published",
        control,
        f"cross-entropy over {over} pairs of the logits minus their projection on {functions}",
    )


def _phases(findings: Findings) -> Row:
    phases, ends, group = findings.phases, None, findings.task.group
    nothing = "no weights were recorded along the way"
    if not findings.has_split:
        nothing = "the pairs that it was trained on are not known"
    elif phases is not None and group is None:
        nothing = "without a known basis there is no excluded loss to find them by"
    elif phases is not None:
        ends = [phases.memorization, phases.circuit_formation, phases.cleanup]
    shown = ["not reached" if end is None else f"{end:,}" for end in ends or ()]
    verdict = RowVerdict(NOT_JUDGED, nothing) if ends is None else _judged_phases(findings, ends)
    return Row(
        "ends of memorisation, circuit formation, cleanup (epochs)",
        ", ".join(f"{end:,}" for end in published.PHASE_ENDS),
        ", ".join(shown) or nothing,
        ends,
        f"each within a factor of {EPOCH_FACTOR:g}: ten published grok epochs spread by 2.6",
        verdict.word,
        verdict.reason,
        None,
        phases_rule("blocks" if group is None else group.basis.plural),
    )


def _judged_phases(findings: Findings, ends: Sequence[int | None]) -> RowVerdict:
    silent = of_other_settings(findings, published.PAPER_WEIGHT_DECAY) or not_computing(findings)
    if silent is not None:
        return silent
    pairs = list(zip(ends, published.PHASE_ENDS, strict=True))
    for end, paper in pairs:
        latest = EPOCH_FACTOR * paper
        reached = end is not None and paper / EPOCH_FACTOR <= end <= latest
        if not reached and (end is not None or findings.epoch >= latest):
            return RowVerdict(FAIL)
    if None in ends:
        return RowVerdict(NOT_YET, f"not all ended by epoch {findings.epoch:,}")
    return RowVerdict(PASS)


def _grok_epoch(findings: Findings) -> Row:
    decay, epoch = findings.weight_decay, findings.grok_epoch
    figures = None if decay is None else published.GROK_EPOCHS.get(decay)
    accepted = "no figure is published" if decay is not None else "that depends on the weight decay"
    if figures is not None and figures.earliest is not None and figures.latest is not None:
        accepted = "one figure is published, and seeds differ by more than its rounding"
        if figures.has_spread:
            low, high = accepted_groks(figures.earliest, figures.latest)
            accepted = (
                f"{low:,.0f} to {high:,.0f}: rounding alone moves it by {ROUNDING_SPREAD:.0%}"
            )
    verdict = _judged_grok_epoch(findings, figures)
    return Row(
        "grok epoch" if decay is None else f"grok epoch at weight decay {decay:g}",
        "none" if figures is None else f"{figures.told} (logs of others)",
        _grokked(findings),
        epoch,
        accepted,
        verdict.word,
        verdict.reason,
        None,
        "first epoch of a confirmed generalisation (the rule is in grokking.json)",
    )


def _grokked(findings: Findings) -> str:
    if findings.outcome == NOT_JUDGED:
        return NOT_JUDGED
    epoch = findings.grok_epoch
    return f"not by epoch {findings.epoch:,}" if epoch is None else f"{epoch:,}"


def accepted_groks(earliest: int, latest: int) -> tuple[float, float]:
    """The accepted range of a grok epoch."""
    return earliest * (1 - ROUNDING_SPREAD), latest * (1 + ROUNDING_SPREAD)


def _judged_grok_epoch(findings: Findings, figures: published.GrokEpochs | None) -> RowVerdict:
    epoch, last = findings.grok_epoch, findings.epoch
    if findings.weight_decay is None:
        return NOT_KNOWN
    if figures is None or figures.earliest is None or figures.latest is None:
        return RowVerdict(
            NOT_JUDGED, f"no figure is published for weight decay {findings.weight_decay:g}"
        )
    if not figures.has_spread:
        return RowVerdict(NOT_JUDGED, "one figure is published, without a spread over seeds")
    other = of_other_settings(findings, findings.weight_decay)
    if other is not None:
        return other
    low, high = accepted_groks(figures.earliest, figures.latest)
    if epoch is not None:
        silent = not_computing(findings)
        return silent or RowVerdict(PASS if low <= epoch <= high else FAIL)
    if findings.outcome in ("generalised", "diverged"):
        return RowVerdict(NOT_JUDGED, f"the run has {findings.outcome} and cannot grok any more")
    if last < high:
        return RowVerdict(NOT_YET, f"not by epoch {last:,}; judged by epoch {high:,.0f}")
    return RowVerdict(FAIL)
