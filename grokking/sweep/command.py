"""`python -m grokking sweep`: plan, estimate, run, analyse, plot. See docs/sweep.md."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from grokking.errors import UserError
from grokking.sweep.options import parse, plan_from, wanted_directory
from grokking.sweep.plan import Plan, PlannedRun, add_session, create_directory, write_plan
from grokking.sweep.resources import Resources, choose


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code; UserError and RunError are the caller's to print."""
    options = parse(arguments)
    plan = plan_from(options)
    if options.resume is not None:
        return _resume(plan, options)
    wanted = wanted_directory(options)
    if options.slurm and not options.dry_run:
        return _submit(_with_threads(plan, None if options.slurm_gpus else 1), wanted, options)
    resources = choose(options.jobs, plan.environment)
    plan = _with_threads(plan, resources.threads)
    if options.dry_run:
        print("\n".join(run.command_line(wanted) for run in plan.runs()))
        return 0
    return _start(plan, wanted, resources, options)


def _start(plan: Plan, wanted: Path, resources: Resources, options: argparse.Namespace) -> int:
    """A new sweep: what it will take, then its folder, then its runs."""
    from grokking.signals import graceful

    if not options.no_estimate:
        from grokking.sweep.estimate import estimate

        with graceful() as stop:
            print("measuring a few epochs ...", flush=True)
            print(estimate(plan.runs(), resources, wanted, stop), flush=True)
        if stop.number is not None:
            return stop.exit_code
    directory = create_directory(wanted)
    write_plan(directory, plan)
    with _claimed(directory):
        return _carry_out(plan, plan.runs(), directory, resources, options)


def _resume(plan: Plan, options: argparse.Namespace) -> int:
    """A sweep that was begun: whatever is unfinished of it, or of the one task that is asked for."""
    directory = Path(options.resume)
    resources = choose(options.jobs, plan.environment)
    with _claimed(directory, shared=options.task is not None):
        return _carry_out(plan, _chosen(options, plan), directory, resources, options)


def _claimed(directory: Path, shared: bool = False) -> AbstractContextManager[None]:
    """The sweep's folder for this process alone; the tasks of a job array share it."""
    from grokking.locks import locked

    return locked(directory, f"{directory} is in use by another sweep; wait for it", shared)


def _submit(plan: Plan, wanted: Path, options: argparse.Namespace) -> int:
    from grokking.sweep.log import RunLog
    from grokking.sweep.slurm import check_available, check_names, submit

    check_available()
    check_names(wanted, options)
    directory = create_directory(wanted)
    write_plan(directory, plan)
    RunLog(directory).header(plan, "submitted to Slurm")
    print(submit(plan, directory, options))
    return 0


def _with_threads(plan: Plan, threads: int | None) -> Plan:
    """The plan with GROK_THREADS, unless the user has set it: it is part of what a run computes."""
    if threads is None or "GROK_THREADS" in plan.environment:
        return plan
    return replace(plan, environment=plan.environment | {"GROK_THREADS": str(threads)})


def _chosen(options: argparse.Namespace, plan: Plan) -> list[PlannedRun]:
    """The runs of a resumed sweep that are asked for: all, or the one of an array's task."""
    runs = plan.runs()
    if options.task is None:
        return runs
    if options.task >= len(runs):
        raise UserError(f"--task is {options.task}, expected 0 to {len(runs) - 1}")
    return [runs[options.task]]


def _carry_out(
    plan: Plan,
    runs: Sequence[PlannedRun],
    directory: Path,
    resources: Resources,
    options: argparse.Namespace,
) -> int:
    from grokking.signals import graceful
    from grokking.sweep.log import RunLog
    from grokking.sweep.runner import Runner, wait_for_orphans
    from grokking.sweep.screen import Screen

    resuming, alone = options.resume is not None, options.task is not None
    pending = [run for run in runs if not (resuming and is_finished(directory / run.name, run))]
    print(_start_line(directory, runs, pending, resources), flush=True)
    if not alone:
        RunLog(directory).header(plan, "resumed" if resuming else "started")
    with graceful() as stop:
        wait_for_orphans([directory / run.name for run in pending], stop)
        screen = Screen(len(pending))
        runner = Runner(directory, resources.jobs, resources.devices, stop, screen, resuming)
        failed = runner.work(sorted(pending, key=lambda run: -run.epochs))  # longest first
    if pending and not alone:
        add_session(directory, runner.finished, resources.jobs, screen.elapsed)
    again = f"./scripts/sweep_weight_decay.sh --resume {shlex.quote(str(directory))}"
    if stop.number is not None:
        print(f"interrupted; go on with: {again}")
        return stop.exit_code
    if not options.no_reports:
        from grokking.sweep.reports import write_reports

        for complaint in write_reports([directory / run.name for run in runs], resources.jobs):
            print(complaint, file=sys.stderr)
    if not alone:
        analyze_and_plot(directory)
    if failed:
        print(f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}; again: {again}")
    return 1 if failed else 0


def is_finished(folder: Path, run: PlannedRun) -> bool:
    """Does the folder hold the result of as many epochs as planned? A damaged one does not."""
    from grokking.artifacts import read_run

    try:
        return bool(read_run(folder).config["num_epochs"] == run.epochs)
    except (UserError, KeyError):
        return False


def analyze_and_plot(directory: Path) -> None:
    """The two scripts that follow a sweep; what stands in their way is said, not raised."""
    try:
        from grokking.sweep.analysis import analyze
        from grokking.sweep.pages import write_sweep_pages
        from grokking.sweep.tables import terminal_report

        sweep, summary = analyze(directory)
        print(f"\n{terminal_report(summary)}\n")
        print(f"open {write_sweep_pages(sweep, summary)}")
    except ImportError as error:
        print(f"no plots: {error}; pip install -r scripts/requirements.txt", file=sys.stderr)
    except UserError as error:
        print(f"not analysed: {error}", file=sys.stderr)


def _start_line(
    directory: Path, runs: Sequence[PlannedRun], pending: Sequence[PlannedRun], resources: Resources
) -> str:
    done = len(runs) - len(pending)
    kept = f" ({done} finished before are kept)" if done else ""
    where = f" on GPU {', '.join(resources.devices)}" if resources.devices else ""
    return f"{len(pending)} runs{kept}, {resources.jobs} at a time{where}, into {directory}"
