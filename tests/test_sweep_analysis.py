"""From a folder of runs to the summary: what is counted, what is listed as a fault, what is said."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grokking.detection import OUTCOMES
from grokking.sweeps.analysis import analyze, summarize_sweep
from grokking.sweeps.axis import AXIS
from grokking.sweeps.folder import read_sweep
from grokking.sweeps.plan import Plan, add_session, write_plan
from grokking.sweeps.records import Fault, RunRecord, Sweep
from grokking.sweeps.scaling import delays_left_out, fit
from grokking.sweeps.survival import Observation
from grokking.sweeps.tables import markdown_report, terminal_report
from grokking.system.errors import UserError
from tests.support import warm
from tests.support.environment import ROOT, clean_environment
from tests.support.sweep_folders import typical_sweep, write_run


def run_script(name, *arguments):
    return warm.python(ROOT / "scripts" / name, *arguments, cwd=ROOT, env=clean_environment())


def test_the_summary_of_a_typical_sweep(tmp_path):
    _, summary = analyze(typical_sweep(tmp_path))
    low, middle, high = summary["weight_decays"]
    assert (low["weight_decay"], low["runs"], low["grokked"]) == (0.5, 3, 1)
    assert low["success_rate"] == pytest.approx(1 / 3)
    assert low["success_rate_interval_95"] == pytest.approx((0.0615, 0.7923), abs=5e-5)
    assert low["kaplan_meier_grok_epoch"] == {"median": None, "followed_to": 10_000}
    assert low["censored_at"] == [10_000, 10_000]
    assert middle["grok_epoch"] == {"count": 3, "median": 8_050, "min": 6_900, "max": 9_300}
    assert middle["kaplan_meier_delay"]["median"] == 8_050 - 150
    assert high["memorization_epoch"]["median"] == 150
    assert high["seconds"]["median"] == 100.0
    assert [v["verdict"] for v in summary["verdicts"]] == ["PASS", "PASS", "PASS"]
    assert (summary["runs_read"], summary["runs_not_counted"]) == (9, 0)
    assert summary["schema_version"] == 1


def test_the_summary_file_holds_what_is_returned(tmp_path):
    _, summary = analyze(typical_sweep(tmp_path))
    written = json.loads((tmp_path / "analysis_summary.json").read_text())
    assert written == json.loads(json.dumps(summary))
    assert len(written["runs"]) == 9


def test_parameters_come_from_config_json_not_from_folder_names(tmp_path):
    write_run(tmp_path, 2.0, 7, 3_000, name="wd1.0_seed42")
    write_run(tmp_path, 0.5, 8, None, name="a folder with spaces")
    runs = {run.directory: run for run in read_sweep(tmp_path).runs}
    assert runs["wd1.0_seed42"].weight_decay == 2.0
    assert runs["wd1.0_seed42"].seed == 7
    assert runs["a folder with spaces"].weight_decay == 0.5


def break_json(folder, file, text):
    (folder / file).write_text(text)


DAMAGES = {
    "empty": (lambda f: [p.unlink() for p in f.iterdir()], "config.json: no such file"),
    "still running": (lambda f: (f / "grokking.json").unlink(), "grokking.json: no such file"),
    "cut off": (
        lambda f: break_json(f, "loss_history.json", '{"epochs": [0, 1'),
        "loss_history.json: not valid JSON",
    ),
    "not finite": (
        lambda f: break_json(f, "accuracy_history.json", '{"epochs": [NaN]}'),
        "accuracy_history.json: not valid JSON",
    ),
    "no settings": (
        lambda f: break_json(f, "config.json", '{"seed": {"value": 1}}'),
        "config.json: key 'config' is missing, expected an object",
    ),
    "words for a seed": (
        lambda f: edit(f, "config.json", lambda c: c["config"]["seed"].update(value="42")),
        "config.json: 'config' field 'seed' is \"42\", expected an integer",
    ),
    "setting that is an object": (
        lambda f: edit(f, "config.json", lambda c: c["config"]["beta1"].update(value={"a": 1})),
        "config.json: 'config' field 'beta1' is an object, expected a number",
    ),
    "weight decay beyond a float": (
        lambda f: edit(
            f, "config.json", lambda c: c["config"]["weight_decay"].update(value=10**400)
        ),
        "config.json: 'config' field 'weight_decay' is a huge integer",
    ),
    **{
        f"{key} beyond the end": (
            lambda f, key=key: edit(f, "grokking.json", lambda c: c.update({key: 10_001})),
            f"grokking.json: '{key}' is 10001, after the last epoch 10000",
        )
        for key in ("memorization_epoch", "generalization_epoch", "grok_epoch")
    },
    "no probes": (
        lambda f: [
            edit(
                f,
                f"{kind}_history.json",
                lambda c: c.update({key: [] for key in c if key != "schema_version"}),
            )
            for kind in ("loss", "accuracy")
        ],
        "loss_history.json: 'epochs' is empty",
    ),
}


def edit(folder, file, change):
    record = json.loads((folder / file).read_text())
    change(record)
    (folder / file).write_text(json.dumps(record))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_listed_with_its_fault_and_not_counted(tmp_path, damage):
    write_run(tmp_path, 1.0, 1, 5_000)
    spoil, fault = DAMAGES[damage]
    spoil(write_run(tmp_path, 1.0, 2, 6_000, name="spoilt"))
    sweep, summary = analyze(tmp_path)
    assert [run.directory for run in sweep.runs] == ["wd1.0_seed1"]
    assert [found.directory for found in sweep.faults] == ["spoilt"]
    assert sweep.faults[0].fault.startswith(fault)
    assert f"  spoilt: {fault}" in terminal_report(summary)


def test_a_repeated_run_is_counted_once_and_the_longer_one_stays(tmp_path):
    write_run(tmp_path, 1.0, 42, None, last_epoch=1_000, name="a_short_try")
    write_run(tmp_path, 1.0, 42, 6_900)
    write_run(tmp_path, 1.0, 42, 6_900, name="wd1.0_seed42_copy")
    write_run(tmp_path, 1.0, 42, 6_900, learning_rate=0.002, name="another experiment")
    sweep = read_sweep(tmp_path)
    assert {r.directory for r in sweep.runs} == {"wd1.0_seed42", "another experiment"}
    assert {(f.directory, f.fault) for f in sweep.faults} == {
        ("a_short_try", "repeats wd1.0_seed42; counted once"),
        ("wd1.0_seed42_copy", "repeats wd1.0_seed42; counted once"),
    }
    assert sweep.warnings == ["the runs differ in learning_rate (0.001, 0.002): not one experiment"]


def test_a_planned_run_without_a_folder_is_missed(tmp_path):
    write_plan(tmp_path, Plan((AXIS.over((1.0, 2.0)),), (42,), (100, 100), {}))
    write_run(tmp_path, 1.0, 42, None, last_epoch=100)
    (fault,) = read_sweep(tmp_path).faults
    assert fault == Fault("wd2.0_seed42", "planned, but there is no such folder")


def test_a_damaged_plan_does_not_stand_in_the_way(tmp_path):
    write_run(tmp_path, 1.0, 42, None)
    (tmp_path / "sweep.json").write_text("{}")
    sweep = read_sweep(tmp_path)
    assert len(sweep.runs) == 1
    assert sweep.faults[0].directory == "sweep.json"


@pytest.mark.parametrize("grok_epoch", [None, 3_000])
def test_one_run_or_none_that_grokked_is_enough_for_an_analysis(tmp_path, grok_epoch):
    write_run(tmp_path, 1.0, 1, grok_epoch)
    _, summary = analyze(tmp_path)
    (group,) = summary["weight_decays"]
    assert group["kaplan_meier_grok_epoch"]["median"] == grok_epoch
    assert summary["verdicts"][0]["verdict"] == ("FAIL" if grok_epoch is None else "PASS")
    assert ("> 10,000" in terminal_report(summary)) == (grok_epoch is None)


def test_a_run_that_generalised_at_once_is_censored_not_grokked(tmp_path):
    """It crossed 90 % before three times its memorisation epoch: that is no grokking."""
    write_run(tmp_path, 1.0, 1, 300)
    (run,) = read_sweep(tmp_path).runs
    assert (run.generalization_epoch, run.grok_epoch, run.delay) == (300, None, 150)
    assert run.followed.observation == (10_000, False)


def test_nothing_readable_is_the_users_error(tmp_path):
    with pytest.raises(UserError, match=r"holds no runs, expected folders such as wd1\.0_seed42"):
        read_sweep(tmp_path)
    (tmp_path / "wd1.0_seed42").mkdir()
    with pytest.raises(
        UserError, match=r"none of 1 runs .* wd1.0_seed42: config.json: no such file"
    ):
        read_sweep(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        read_sweep(tmp_path / "nowhere")
    run = write_run(tmp_path, 1.0, 1, None)
    with pytest.raises(UserError, match="holds a single run, expected the folder of a sweep above"):
        read_sweep(run)


def test_the_delay_scales_as_the_runs_were_made_to(tmp_path):
    """Delays of exactly 4 / (lr * wd): the slope of the fit is 1."""
    for weight_decay in (0.5, 1.0, 2.0):
        for seed, factor in ((1, 0.9), (2, 1.0), (3, 1.1)):
            delay = round(4 * factor / (0.001 * weight_decay) / 50) * 50
            write_run(tmp_path, weight_decay, seed, 150 + delay)
    _, summary = analyze(tmp_path)
    scaling = summary["delay_scaling"]
    assert [m["median_delay"] for m in scaling["medians"]] == [2_000, 4_000, 8_000]
    assert scaling["slope"] == pytest.approx(1, abs=1e-12)
    low, high = scaling["slope_interval_95"]
    assert 0.8 < low < 1 < high < 1.2
    assert "power 1.00" in markdown_report(summary)


def test_two_weight_decays_are_too_few_for_a_slope(tmp_path):
    write_run(tmp_path, 1.0, 1, 4_000)
    write_run(tmp_path, 2.0, 1, 2_000)
    write_run(tmp_path, 0.5, 1, None)  # its median was not reached
    _, summary = analyze(tmp_path)
    assert summary["delay_scaling"] is None
    assert summary["delay_scaling_left_out"] == [
        {"timescale": 2_000.0, "reason": "median delay not reached"}
    ]
    assert (
        "The median delay is not fitted: that takes three values of 1 / (learning rate x weight decay) "
        "whose median delay is above 0. Left out where 1 / (learning rate x weight decay) is 2,000 "
        "(median delay not reached)."
    ) in terminal_report(summary)


def test_runs_that_generalise_as_they_memorise_or_first_are_counted_and_said(tmp_path):
    """Delays of 0 and of less have no logarithm: the fit goes on without them, and says so."""
    for weight_decay in (0.25, 0.5, 1.0):
        write_run(tmp_path, weight_decay, 1, 150 + round(4_000 / weight_decay), last_epoch=20_000)
    write_run(tmp_path, 2.0, 1, 150)  # memorised at 150, too
    write_run(tmp_path, 3.0, 1, 100)
    sweep, summary = analyze(tmp_path)
    assert {run.weight_decay: run.delay for run in sweep.runs if run.delay is None} == {3.0: None}
    delays = {
        g["weight_decay"]: g["kaplan_meier_delay"]["median"] for g in summary["weight_decays"]
    }
    assert delays == {0.25: 16_000, 0.5: 8_000, 1.0: 4_000, 2.0: 0, 3.0: 0}
    assert summary["delay_scaling"]["slope"] == pytest.approx(1, abs=1e-12)
    reasons = {e["timescale"]: e["reason"] for e in summary["delay_scaling_left_out"]}
    assert reasons == {
        500.0: "median delay 0 not positive",
        333.333333333: "median delay 0 not positive",
    }
    said = (
        "Left out where 1 / (learning rate x weight decay) is 333.333 (median delay 0 not positive), "
        "500 (median delay 0 not positive)."
    )
    assert said in terminal_report(summary) and said in markdown_report(summary)


def test_what_has_no_timescale_or_no_delay_is_left_out_and_said(tmp_path):
    write_run(tmp_path, 0.0, 1, 4_000)  # nothing is ever forgotten
    write_run(tmp_path, 1e308, 1, 4_000, learning_rate=1e308)  # at once
    never = write_run(tmp_path, 1.0, 1, None)
    edit(never, "grokking.json", lambda c: c.update(memorization_epoch=None))
    _, summary = analyze(tmp_path)
    assert summary["delay_scaling_left_out"] == [
        {"timescale": 0.0, "reason": "no logarithm"},
        {"timescale": 1_000.0, "reason": "no run memorised or generalised"},
        {"timescale": None, "reason": "no logarithm"},
    ]
    assert "is 0 (no logarithm), 1,000 (no run memorised or generalised), infinite (no" in (
        terminal_report(summary)
    )


def test_equal_rates_of_different_factors_are_one_timescale(tmp_path):
    """0.1 * 3 is not 0.3 in floating point: as two timescales they make a line of no width."""
    for seed, (rate, decay) in enumerate([(0.1, 3.0), (0.3, 1.0), (0.001, 1.0), (0.001, 2.0)]):
        write_run(tmp_path, decay, seed, 4_000 + 100 * seed, learning_rate=rate)
    _, summary = analyze(tmp_path)
    timescales = [point["timescale"] for point in summary["delay_scaling"]["medians"]]
    assert timescales == pytest.approx([1 / 0.3, 500, 1000])


amounts = st.one_of(st.none(), st.floats(0, 1e308), st.sampled_from([0.0, 1e308, 5e-324, 10**308]))


@st.composite
def records(draw):
    """A run as any file may tell it, within what the reader lets through."""
    last = draw(st.one_of(st.integers(0, 20), st.integers(0, 2**53 - 1)))
    epochs = st.one_of(st.none(), st.integers(0, last))
    memorized, generalized, grok = draw(epochs), draw(epochs), draw(epochs)
    share = draw(st.one_of(st.none(), st.floats(0, 1)))
    weight_decay = draw(st.one_of(st.sampled_from([0.5, 1.0, 2.0]), st.floats(0, 1e308)))
    return RunRecord(
        directory=str(draw(st.integers())),
        weight_decay=weight_decay,
        seed=draw(st.integers(0, 3)),
        learning_rate=draw(st.one_of(st.just(1e-3), st.floats(0, 1e308))),
        num_epochs=draw(st.integers(0, 10**308)),
        last_epoch=last,
        outcome=draw(st.sampled_from(OUTCOMES)),
        collapse_epoch=draw(epochs),
        grokked=grok is not None,
        grok_epoch=grok,
        memorization_epoch=memorized,
        generalization_epoch=generalized,
        delay=None if None in (memorized, generalized) else generalized - memorized,
        final_training_accuracy=share,
        final_validation_accuracy=share,
        seconds=draw(amounts),
        epochs_per_second=draw(amounts),
        values={"weight_decay": weight_decay},
        forked_at=None,
        squares_at_memorization=draw(amounts),
        squares_at_generalization=draw(amounts),
    )


@given(st.lists(records(), min_size=1, max_size=8, unique_by=lambda run: run.directory))
def test_no_numbers_make_the_statistics_crash_or_leave_json(runs):
    axis = AXIS.over(sorted({run.weight_decay for run in runs}))
    summary = summarize_sweep(Sweep(Path("sweep"), (axis,), runs, [], [], {}, [], []))
    json.dumps(summary, allow_nan=False)
    assert terminal_report(summary) and markdown_report(summary)
    if summary["delay_scaling"] is not None:
        told = [*summary["delay_scaling"]["medians"], *summary["delay_scaling_left_out"]]
        timescales = {run.timescale for run in runs if run.timescale < math.inf}
        assert {entry["timescale"] for entry in told} >= timescales


def test_a_fit_passes_over_negative_delays_whoever_measured_them():
    delays = {scale: [Observation(scale, True)] for scale in (100.0, 200.0, 400.0)}
    delays[50.0] = [Observation(-20, True)]
    assert list(fit(delays).medians) == [100.0, 200.0, 400.0]
    assert delays_left_out(delays) == {50.0: "median delay -20 not positive"}


def test_two_times_that_overflow_together_still_have_a_median(tmp_path):
    for seed in (1, 2):
        run = write_run(tmp_path, 1.0, seed, None)
        edit(run, "grokking.json", lambda c: c.update(seconds=1e308))
    _, summary = analyze(tmp_path)
    assert summary["weight_decays"][0]["seconds"]["median"] == 1e308


def test_eleven_runs_against_eleven_have_a_p_value_and_the_number_of_its_draws(tmp_path):
    for seed in range(11):
        write_run(tmp_path, 1.0, seed, 6_000 + 100 * seed, every=500)
        write_run(tmp_path, 2.0, seed, 2_000 + 100 * seed, every=500)
        write_run(tmp_path, 0.5, seed, None, every=500)
    _, summary = analyze(tmp_path)
    told = json.loads((tmp_path / "analysis_summary.json").read_text())["verdicts"]
    assert [verdict.get("permutation_draws") for verdict in told] == [None, 100_000, 100_000]
    assert all(0 < verdict["permutation_p_one_sided"] < 1e-4 for verdict in told[1:])
    assert (
        markdown_report(summary).count("one-sided from 100,000 random deals, all followed to") == 2
    )


def test_a_test_that_cannot_be_made_is_said(tmp_path):
    for weight_decay in (1.0, 2.0):
        write_run(tmp_path, weight_decay, 1, None)
    _, summary = analyze(tmp_path)
    assert summary["verdicts"][1]["permutation_draws"] is None  # all two deals were looked at
    assert (
        "(permutation p = 1 one-sided, all followed to epoch 10,000; no log-rank test: no event "
        "tells the groups apart)."
    ) in terminal_report(summary)


def test_the_markdown_table_has_one_row_per_weight_decay(tmp_path):
    _, summary = analyze(typical_sweep(tmp_path))
    lines = markdown_report(summary).splitlines()
    assert lines[3] == (
        "| 1.0 | 3 of 3 | 44%-100% | 8,050 (6,900-9,300) | 8,050 | 150 | 7,900 | 100.0% / 100.0% | 1:40 |"
    )
    assert lines[2].split("|")[5].strip() == "> 10,000"
    assert any(line.startswith("- H3 PASS: ") for line in lines)


def test_the_scripts_report_and_end_with_their_codes(tmp_path):
    typical_sweep(tmp_path / "my sweep")
    (tmp_path / "my sweep" / "wd9_seed9").mkdir()
    done = run_script("analyze_weight_decay_sweep.py", tmp_path / "my sweep")
    assert done.returncode == 0, done.stderr
    assert "H1 PASS" in done.stdout
    assert "1 not counted:\n  wd9_seed9: config.json: no such file" in done.stdout
    table = run_script("sweep_table.py", tmp_path / "my sweep", tmp_path / "table.md")
    assert table.returncode == 0, table.stderr
    assert (tmp_path / "table.md").read_text().startswith("| weight decay | grokked |")


def test_conditions_and_wall_time_are_part_of_the_summary(tmp_path):
    """Published numbers carry hardware, versions and time; a run that does not say has 'unknown'."""
    write_plan(tmp_path, Plan((AXIS.over((1.0, 2.0)),), (42,), (100, 100), {}))
    add_session(tmp_path, runs=1, jobs=2, seconds=90.04)
    add_session(tmp_path, runs=1, jobs=1, seconds=30)
    write_run(tmp_path, 1.0, 42, None, last_epoch=100)
    told = write_run(tmp_path, 2.0, 42, None, last_epoch=100)
    edit(
        told,
        "config.json",
        lambda c: c.update(
            device_name="a CPU",
            kernel="avx2",
            threads=1,
            versions={"torch": "2", "python": "3", "git_commit": "abc"},
        ),
    )
    _, summary = analyze(tmp_path)
    assert summary["conditions"][0]["kernel"] == "unknown"
    report = markdown_report(summary)
    assert "- a CPU, kernel avx2, threads per run: 1, torch 2, Python 3, commit abc\n" in report
    assert "- 1 run, 2 at a time, in 1.5 minutes of wall time\n" in report
    assert "- 1 run, 1 at a time, in 0.5 minutes of wall time\n" in report


def test_a_wall_time_beyond_all_time_is_no_wall_time(tmp_path):
    write_run(tmp_path, 1.0, 42, None)
    (tmp_path / "sweep.json").write_text(
        f'{{"sessions": [{{"runs": 1, "jobs": 1, "seconds": {10**400}}}]}}'
    )
    _, summary = analyze(tmp_path)
    assert summary["sessions"] == []


GROUP = f'"weight_decay": 1, "runs": 1, "grokked": 1, "success_rate_interval_95": [0, {10**400}]'
BEYOND_A_FLOAT = f'{{"weight_decays": [{{{GROUP}}}]}}'


@pytest.mark.parametrize(
    "text", ["{}", '{"weight_decays": [1]}', '{"weight_decays": [{}]}', "[]", BEYOND_A_FLOAT]
)
def test_a_file_that_is_no_summary_makes_no_table(tmp_path, text):
    (tmp_path / "analysis_summary.json").write_text(text)
    done = run_script("sweep_table.py", tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"error: {tmp_path}/analysis_summary.json: ")


def test_the_analysis_needs_neither_torch_nor_plotly():
    """None in sys.modules makes an import fail."""
    program = (
        "import sys; sys.modules.update(torch=None, plotly=None); import grokking.sweeps.analysis"
    )
    subprocess.run(
        [sys.executable, "-c", program], env=clean_environment(PYTHONPATH=str(ROOT)), check=True
    )
    program = "import sys; sys.modules.update(torch=None); import grokking.sweeps.pages"
    subprocess.run(
        [sys.executable, "-c", program], env=clean_environment(PYTHONPATH=str(ROOT)), check=True
    )


def test_verdicts_never_change_the_exit_code(tmp_path):
    write_run(tmp_path, 1.0, 1, None)
    done = run_script("analyze_weight_decay_sweep.py", tmp_path)
    assert "H1 FAIL" in done.stdout
    assert done.returncode == 0


@pytest.mark.parametrize("script", ["analyze_weight_decay_sweep.py", "plot_sweep_comparison.py"])
def test_a_folder_without_a_readable_run_ends_with_2_and_writes_nothing(tmp_path, script):
    done = run_script(script, tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert list(tmp_path.iterdir()) == []
