"""The times of every kernel on a real card beside the roofline of that card."""

from typing import Any

from tools.gpu.roofline import Gpu, Work, bound, cells_of, works

AIM = 2.0  # a kernel may take so many times its bound without a reason


def measured(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Every kernel that the one call timed beside its bound on that card; [] if it timed none.

    The bound is the roofline's or what as many empty kernels take, whichever is more.
    """
    times = results.get("kernel_times")
    if not times or not all(times.values()):
        return []
    gpu, empty = card(times, results), ceiling(times, "empty kernel")["microseconds"]
    counters = (results.get("counters") or {}).get("kernels", [])
    return [
        beside_bound(work, gpu, empty, launches, counters)
        for work in works()
        if (launches := [t for t in times["kernels"] if is_of(t, work)])
    ]


def card(times: dict[str, Any], results: dict[str, Any]) -> Gpu:
    """The card that was measured, with the rate at which its L2 was read there."""
    device, read = times["device"], ceiling(times, "read from L2")
    clock = device["clock_khz"] / 1e6 or highest_clock(results)
    rate = read["bytes"] / read["microseconds"] / 1e6
    return Gpu(device["device"], device["multiprocessors"], clock, rate)


def ceiling(times: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in times["ceilings"] if entry["ceiling"] == name)


def highest_clock(results: dict[str, Any]) -> float:
    """GHz, of nvidia-smi: not every driver tells CUDA its clock."""
    smi = results["machine"]["nvidia_smi"]
    return float(smi["answer"].split(", ")[smi["asked"].index("clocks.max.sm")].split()[0]) / 1e3


def is_of(time: dict[str, Any], work: Work) -> bool:
    return bool(time["call"] == work.call and time["kernel"] == work.kernel)


def beside_bound(
    work: Work,
    gpu: Gpu,
    empty: float,
    launches: list[dict[str, Any]],
    counters: list[dict[str, Any]],
) -> dict[str, Any]:
    """Time, bound, their ratio, and above AIM the reason, as far as it was counted."""
    time = sum(launch["microseconds"] for launch in launches)
    least, what = max(bound(work, gpu), (empty * len(launches), "launching"))
    ratio = time / least
    kernel, problem = cells_of(work)
    return {
        "call": work.call,
        "kernel": kernel,
        "problem": problem,
        "microseconds": time,
        "bound_microseconds": least,
        "bound_by": what,
        "ratio": ratio,
        "reason": "" if ratio <= AIM else reason(work, gpu, counters),
    }


def reason(work: Work, gpu: Gpu, counters: list[dict[str, Any]]) -> str:
    """What ncu counted of this launch, else how many multiprocessors it can occupy."""
    for counted in counters:
        if (counted["kernel"], counted["blocks"]) == (work.kernel, work.blocks):
            units = ("arithmetic", "L1", "L2", "memory", "warps")
            shares = (f"{u} {counted[u]:.0f} %" for u in units if counted.get(u) is not None)
            return f"of their peaks: {', '.join(shares)}"
    return f"no counters; {work.blocks} blocks on {gpu.multiprocessors} multiprocessors"
