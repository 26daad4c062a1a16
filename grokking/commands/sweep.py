"""`python -m grokking sweep`: plan, estimate, run, analyse, plot. See docs/sweep.md."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from grokking.commands.sweep_options import (
    parse,
    plan_from,
    program,
    wanted_directory,
    writes_reports,
)
from grokking.config import INEXACT
from grokking.sweeps.budget import Budget
from grokking.sweeps.log import RunLog
from grokking.sweeps.plan import (
    Plan,
    PlannedRun,
    add_session,
    create_directory,
    read_plan,
    rewrite_plan,
    write_plan,
)
from grokking.sweeps.resources import Resources, choose_resources
from grokking.system.durations import counted
from grokking.system.errors import RunError, UserError
from grokking.system.signals import StopRequest, graceful


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code; UserError and RunError are the caller's to print."""
    options = parse(arguments)
    plan = plan_from(options)
    options.no_reports = not writes_reports(options, plan)
    if options.resume is not None:
        return _resume(plan, options)
    wanted = wanted_directory(options, plan.axes)
    if options.slurm and not options.dry_run:
        return _submit(_with_threads(plan, None if options.slurm_gpus else 1), wanted, options)
    resources = choose_resources(options.jobs, plan.environment)
    plan = _with_threads(plan, resources.threads)
    if options.dry_run:
        print("\n".join(run.command_line(wanted) for run in plan.runs()))
        return 0
    return _start(plan, wanted, resources, options)


def _start(plan: Plan, wanted: Path, resources: Resources, options: argparse.Namespace) -> int:
    """A new sweep: what it will take, then its folder, then its runs."""
    budget = None
    if not options.no_estimate:
        with graceful() as stop:
            budget = _looked_ahead(plan.runs(), wanted, resources, options, stop)
        if stop.number is not None:
            return stop.exit_code
    directory = create_directory(wanted)
    write_plan(directory, plan)
    with _claimed(directory):
        return _carry_out(plan, plan.runs(), directory, resources, options, budget)


def _looked_ahead(
    runs: Sequence[PlannedRun],
    directory: Path,
    resources: Resources,
    options: argparse.Namespace,
    stop: StopRequest,
) -> Budget | None:
    """Say what these runs will take; the budget of --max-hours, which counts from now.

    UserError where a measuring run is refused, so that what only torch can judge (an absent device or
    kernel) is reported before the sweep's folder exists.
    """
    from grokking.sweeps.estimate import expectation, forecast_sweep

    budget = None if options.max_hours is None else Budget(options.max_hours)
    reports = not options.no_reports
    print("measuring a few epochs ...", flush=True)
    try:
        forecast = forecast_sweep(runs, resources, stop, reports)
    except InterruptedError:
        print("interrupted", flush=True)
        return None
    except RuntimeError as error:
        if budget is not None:
            raise RunError(f"no estimate, which --max-hours needs: {error}") from error
        print(f"no estimate: {error}", flush=True)
        return None
    print(expectation(forecast, runs, resources, directory, reports), flush=True)
    if budget is not None:
        seconds = {run.name: forecast.seconds(run) for run in runs}
        budget.seconds = lambda run: seconds[run.name]
    return budget


def _resume(plan: Plan, options: argparse.Namespace) -> int:
    """A sweep that was begun: whatever is unfinished of it, or of the one run that is asked for."""
    directory, alone = Path(options.resume), options.run is not None
    if options.slurm:
        return _submit_rest(plan, directory, options)
    resources = choose_resources(options.jobs, plan.environment)
    with _claimed(directory, shared=alone):
        if not alone and plan != read_plan(directory):
            rewrite_plan(directory, plan)
        return _carry_out(plan, _chosen(options, plan), directory, resources, options)


def _claimed(directory: Path, shared: bool = False) -> AbstractContextManager[None]:
    """The sweep's folder for this process alone; the tasks of a job array share it."""
    from grokking.system.locks import locked

    return locked(directory, f"{directory} is in use by another sweep; wait for it", shared)


def _submit(plan: Plan, wanted: Path, options: argparse.Namespace) -> int:
    """A new sweep, for Slurm to run."""
    from grokking.sweeps.slurm import array_limit, submit

    limit = array_limit(wanted, options)
    directory = create_directory(wanted)
    write_plan(directory, plan)
    RunLog(directory).header(plan, "submitted to Slurm")
    with graceful() as stop:
        print(submit(plan, range(len(plan.runs())), limit, directory, options, stop))
    return 0


def _submit_rest(plan: Plan, directory: Path, options: argparse.Namespace) -> int:
    """What is unfinished of a sweep, for Slurm to run; tasks that are at work share the folder."""
    from grokking.sweeps.slurm import array_limit, submit
    from grokking.sweeps.standing import is_finished

    limit = array_limit(directory, options)
    with _claimed(directory, shared=True):
        if plan != read_plan(directory):
            rewrite_plan(directory, plan)
        RunLog(directory).header(plan, "submitted to Slurm again")
        runs = enumerate(plan.runs())
        rest = [number for number, run in runs if not is_finished(directory / run.name, run)]
        with graceful() as stop:
            print(submit(plan, rest, limit, directory, options, stop))
    return 0


def _with_threads(plan: Plan, threads: int | None) -> Plan:
    """The plan with GROK_THREADS, unless the user has set it: it is part of what a run computes."""
    if threads is None or "GROK_THREADS" in plan.environment:
        return plan
    return replace(plan, environment=plan.environment | {"GROK_THREADS": str(threads)})


def _chosen(options: argparse.Namespace, plan: Plan) -> list[PlannedRun]:
    """The runs of a resumed sweep that are asked for: all, or the one of an array's task."""
    runs = plan.runs()
    if options.run is None:
        return runs
    if options.run >= len(runs):
        raise UserError(f"--run is {options.run}, expected 0 to {len(runs) - 1}")
    return [runs[options.run]]


def _carry_out(
    plan: Plan,
    runs: Sequence[PlannedRun],
    directory: Path,
    resources: Resources,
    options: argparse.Namespace,
    budget: Budget | None = None,
) -> int:
    from grokking.commands.sweep_screen import Screen
    from grokking.sweeps.estimate import work
    from grokking.sweeps.runner import Runner, wait_for_orphans
    from grokking.sweeps.standing import remaining

    resuming, alone = options.resume is not None, options.run is not None
    log, pending = RunLog(directory), list(runs)
    with graceful() as stop:
        if resuming:
            wait_for_orphans([directory / run.name for run in runs], stop)
            pending = _unfinished(runs, directory, log)
        if resuming and options.max_hours is not None and pending and stop.number is None:
            left = [remaining(run, directory) for run in pending]
            budget = _looked_ahead(left, directory, resources, options, stop)
        print(_start_line(directory, runs, pending, resources), flush=True)
        if not alone:
            log.header(plan, "resumed" if resuming else "started")
        screen = Screen(len(pending))
        resume = (INEXACT if options.inexact else "1") if resuming else ""
        runner = Runner(directory, resources.jobs, resources.devices, stop, screen, resume, budget)
        failed = runner.work(sorted(pending, key=lambda run: -work(run)))  # longest first
    if pending and not alone:
        add_session(directory, runner.finished, resources.jobs, screen.elapsed)
    again = f"{program()} --resume {shlex.quote(str(directory))}"
    if stop.number is not None:
        print(f"interrupted; go on with: {again}")
        return stop.exit_code
    if not options.no_reports:
        from grokking.sweeps.reports import write_reports

        folders = [directory / run.name for run in runs]
        for complaint in write_reports(folders, resources.jobs, plan.environment):
            print(complaint, file=sys.stderr)
    begun = len(runner.left) < len(runs)
    well = alone or not begun or analyze_and_plot(directory, runner.left)
    if failed:
        print(f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}; again: {again}")
    if runner.left:
        print(
            f"{len(runner.left)} of {counted(len(runs), 'run')} left, which would not have ended within "
            f"{options.max_hours:g} hours; go on with: {again}"
        )
    return 0 if well and not failed and not runner.diverged else 1


def _unfinished(runs: Sequence[PlannedRun], directory: Path, log: RunLog) -> list[PlannedRun]:
    """The runs that a resumed sweep has to work on; the damaged ones among them begin anew."""
    from grokking.sweeps.standing import fault_of, is_finished, set_aside
    from grokking.system.locks import is_locked

    for run in runs:
        folder = directory / run.name
        fault = "" if is_locked(folder) else fault_of(folder, run)
        if fault:
            aside = set_aside(folder).relative_to(directory)
            print(
                f"{run.name} is damaged and runs again; it lies in {aside} now: {fault}", flush=True
            )
            log.entry(run.name, f"damaged, moved to {aside}: {fault}")
    return [run for run in runs if not is_finished(directory / run.name, run)]


def analyze_and_plot(directory: Path, left: Sequence[str] = ()) -> bool:
    """The two scripts that follow a sweep; what stands in their way is said, not raised.

    True if every run could be read, but for those that are `left` to do, and none has diverged.
    """
    try:
        from grokking.sweeps.analysis import analyze
        from grokking.sweeps.pages import write_sweep_pages
        from grokking.sweeps.tables import terminal_report

        sweep, summary = analyze(directory)
        print(f"\n{terminal_report(summary)}\n")
        print(f"open {write_sweep_pages(sweep, summary)}")
        return sweep.is_whole(left)
    except ImportError as error:
        print(f"no plots: {error}; pip install -r scripts/requirements.txt", file=sys.stderr)
        return True
    except UserError as error:
        print(f"not analysed: {error}", file=sys.stderr)
        return False


def _start_line(
    directory: Path, runs: Sequence[PlannedRun], pending: Sequence[PlannedRun], resources: Resources
) -> str:
    done = len(runs) - len(pending)
    kept = f" ({done} finished before are kept)" if done else ""
    where = f" on GPU {', '.join(resources.devices)}" if resources.devices else ""
    return (
        f"{counted(len(pending), 'run')}{kept}, {resources.jobs} at a time{where}, into {directory}"
    )
