"""gpu.json -> what README, docs/cuda.md and the report of tools/gpu say of a GPU. Standard library only.

The record is {schema_version, date, seconds, parts: [{name, state, limit, seconds, reason}], results:
{part: what it measured}}; a part that is not done may have measured some of it, or nothing.
"""

from collections.abc import Mapping
from typing import Any

from grokking.files.markdown import plain, table

Record = Mapping[str, Any]
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
NEVER = (
    "**No GPU has run it yet**: its device code was proven on CPUs, against plain PyTorch and under "
    "sanitizers.\n"
)


def result(record: Record, part: str) -> Mapping[str, Any]:
    """What a part measured, {} if nothing."""
    found: Mapping[str, Any] = record["results"].get(part) or {}
    return found


def ending(record: Record, part: str) -> str:
    """done, or how else the part ended and why."""
    for entry in record["parts"]:
        if entry["name"] == part:
            state = str(entry["state"])
            return state if state == "done" else f"{state} ({plain(entry['reason'])})"
    return "missing"


def conditions(record: Record) -> str:
    """Card, driver, versions, commit and date, as a published number needs them."""
    machine = result(record, "machine")
    of_torch = machine.get("torch") or {}
    smi = (machine.get("nvidia_smi") or {}).get("answer") or ""
    commit = record.get("commit") or machine.get("git_commit") or "unknown"
    driver = smi.splitlines()[0].split(", ")[1] if smi.count(", ") else "unknown"
    nvcc = (machine.get("tools") or {}).get("nvcc") or "no nvcc"
    return plain(
        f"{gpu_name(record)}, driver {driver}, {nvcc}, torch {of_torch.get('version', 'unknown')}, "
        f"Python {machine.get('python', 'unknown')}; {machine.get('processor', 'unknown processor')}, "
        f"{machine.get('cores', '?')} cores; commit {commit[:7]}, "
        f"{record['date'][:10]}"
    )


def gpu_name(record: Record) -> str:
    devices = (result(record, "machine").get("torch") or {}).get("devices") or []
    timed = result(record, "kernel_times").get("device") or {}
    return str(devices[0]["name"]) if devices else str(timed.get("device", "no known GPU"))


def proven(record: Record) -> str:
    """Parity, tests and sanitizers, each with what it found."""
    tests = result(record, "gpu_tests")
    passed = f" ({tests['passed']} of {tests['tests']} passed)" if tests else ""
    lines = [
        f"- First use against plain PyTorch and float64: {ending(record, 'first_use')}.",
        f"- `tests/test_cuda_gpu.py`: {ending(record, 'gpu_tests')}{passed}.",
    ]
    names_of: dict[str, list[str]] = {}
    for name in SANITIZERS:
        names_of.setdefault(sanitized(record, name), []).append(name)
    for outcome, names in names_of.items():
        lines.append(f"- compute-sanitizer, {', '.join(names)}: {outcome}.")
    return "\n".join(lines) + "\n"


def sanitized(record: Record, name: str) -> str:
    state = ending(record, name)
    if state != "done":
        return state
    planted = result(record, name)["planted_fault_reported"]
    control = "a planted fault is reported" if planted else "a planted fault is not reported either"
    return f"nothing found; {control}"


def epochs(record: Record) -> str:
    """Milliseconds of an epoch in every way, and how many times the kernel's."""
    rows = []
    alone = kernels_alone(record)
    for part in ("epochs", "compiled_epochs"):
        times = result(record, part).get("milliseconds") or {}
        for name, time in times.items():
            again = ", again beside these" if name == "kernel" and part != "epochs" else ""
            rows.append([name + again, f"{time:.3f}", f"{time / times['kernel']:.2f}x"])
            if name == "kernel" and part == "epochs" and alone:
                share = f"{alone / time:.2f}x"
                rows.append(["of which the kernel's own launches", f"{alone:.3f}", share])
        if not times:
            rows.append([part.replace("_", " "), ending(record, part), ""])
    return table(
        ["a training step and the score of the other pairs", "ms", "against the kernel"], rows
    )


def kernels_alone(record: Record) -> float:
    """Milliseconds of the kernels of an epoch, launched back to back; 0 if none was timed."""
    timed = result(record, "roofline").get("kernels") or []
    calls = ("pair_loss", "evaluate the rest")
    return sum(float(kernel["microseconds"]) for kernel in timed if kernel["call"] in calls) / 1e3


def runs(record: Record) -> str:
    """The same seed until it groks, on the GPU and on that machine's processor."""
    rows = []
    for part in ("gpu_run", "cpu_run"):
        run = result(record, part)
        if not run:
            rows.append([part.replace("_", " "), ending(record, part), "", ""])
            continue
        place = f"{run['device_name']}, kernel {run['kernel']}"
        threads = "" if run["kernel"] == "cuda" else f", {run['threads']} threads"
        grok = run["grok_epoch"]
        when = f"not by epoch {run['final_epoch']:,}" if grok is None else f"{grok:,}"
        speed = f"{run['epochs_per_second']:.0f}"
        rows.append([plain(place + threads), when, f"{run['seconds']:.1f}", speed])
    seed = next((r["seed"] for p in ("gpu_run", "cpu_run") if (r := result(record, p))), "")
    head = f"a run until it groks{f', seed {seed}' if seed != '' else ''}, probed every 10 epochs"
    return table([head, "grok epoch", "seconds of training", "epochs a second"], rows)


def kernels(record: Record) -> str:
    """Every kernel beside its roofline on that card."""
    rows = [
        [
            plain(kernel["call"]),
            kernel["kernel"],
            kernel["problem"],
            f"{kernel['microseconds']:.1f}",
            f"{kernel['bound_microseconds']:.1f} ({kernel['bound_by']})",
            f"{kernel['ratio']:.1f}x",
            plain(kernel["reason"]),
        ]
        for kernel in result(record, "roofline").get("kernels") or []
    ]
    if not rows:
        return f"Kernels were not timed: {ending(record, 'kernel_times')}.\n"
    head = ["call", "kernel", "problem", "us", "bound, us", "of the bound", "why above 2x"]
    return f"{table(head, rows)}\n{near_bound(record)}\n"


def near_bound(record: Record) -> str:
    """How many kernels keep to twice their bound."""
    timed = result(record, "roofline").get("kernels") or []
    near = sum(not kernel["reason"] for kernel in timed)
    return f"Within twice their bound: {near} of {len(timed)} kernels." if timed else ""


def ceilings(record: Record) -> str:
    """What this card reaches in a copy, in reading L2 and in a matrix product; an empty launch."""
    words = []
    for entry in result(record, "kernel_times").get("ceilings") or []:
        if entry["bytes"]:
            rate = entry["bytes"] / entry["microseconds"] / 1e6
            words.append(f"{entry['ceiling']} {rate:.2f} TB/s")
        else:
            words.append(f"{entry['ceiling']} {entry['microseconds']:.1f} us")
    product = result(record, "epochs").get("matrix_product_tflops")
    if product:
        words.append(f"float32 matrix product {product:.1f} TFLOP/s")
    return f"Ceilings measured there: {', '.join(words)}." if words else ""


def parts(record: Record) -> str:
    """How every part ended, but for the one that writes the report."""
    rows = [
        [part["name"], part["state"], f"{part['seconds']:.0f}", plain(part["reason"] or "")]
        for part in record["parts"]
        if part["name"] != "report"
    ]
    return table(["part", "state", "seconds", "reason"], rows)


def summary(record: Record | None) -> str:
    """For the README: has a GPU run it, is it right, how fast is it."""
    if record is None:
        return NEVER
    return sections(
        f"**Run on {plain(gpu_name(record))}.**",
        proven(record),
        epochs(record),
        runs(record),
        near_bound(record),
        f"{conditions(record)}.",
    )


def statement(record: Record | None) -> str:
    """For the head of docs/cuda.md."""
    return NEVER if record is None else sections(f"Run on {conditions(record)}.", proven(record))


def measurements(record: Record | None) -> str:
    """For docs/cuda.md: what was measured."""
    if record is None:
        return "Nothing yet: no GPU has run it.\n"
    of_epochs, of_runs = epochs(record), runs(record)
    return sections(parts(record), kernels(record), ceilings(record), of_epochs, of_runs)


def report(record: Record) -> str:
    """The whole record as a page for people."""
    return sections(
        f"# The CUDA kernel on {plain(gpu_name(record))}",
        f"{conditions(record)}; {record['seconds']:.0f} seconds.",
        proven(record),
        measurements(record),
    )


def sections(*texts: str) -> str:
    """Those that are not empty, an empty line between them."""
    return "\n\n".join(text.strip() for text in texts if text) + "\n"
