"""The parts of the one call, in order, each with its limit."""

from typing import NamedTuple

from grokking.system.errors import UserError

TOTAL = 480  # seconds; the limits add up to less
OUT = "{out}"  # stands for the folder of the call among a part's arguments


class Part(NamedTuple):
    """A part's name, its limit in seconds, and the module of tools.gpu.parts that does it."""

    name: str
    limit: float
    module: str
    arguments: tuple[str, ...] = ()


PARTS = (
    Part("machine", 30, "machine"),
    Part("build", 70, "build"),
    Part("build_without_cuda", 45, "build", ("without-cuda",)),
    Part("program", 25, "program"),
    Part("first_use", 30, "first_use"),
    Part("gpu_tests", 40, "gpu_tests"),
    Part("memcheck", 15, "sanitizer", ("memcheck",)),
    Part("racecheck", 15, "sanitizer", ("racecheck",)),
    Part("initcheck", 15, "sanitizer", ("initcheck",)),
    Part("synccheck", 15, "sanitizer", ("synccheck",)),
    Part("kernel_times", 15, "kernel_times"),
    Part("epochs", 30, "epochs", ("eager",)),
    Part("compiled_epochs", 45, "epochs", ("compiled",)),
    Part("gpu_run", 30, "whole_run", ("cuda",)),
    Part("cpu_run", 30, "whole_run", ("cpu",)),
    Part("counters", 15, "counters"),
    Part("roofline", 5, "roofline", (OUT,)),
    Part("report", 5, "report", (OUT,)),
)


def chosen(only: str | None, limit: float) -> list[Part]:
    """The parts that were asked for, each within the limit; UserError for an unknown name."""
    names = [part.name for part in PARTS]
    wanted = names if only is None else only.split(",")
    unknown = [name for name in wanted if name not in names]
    if unknown:
        raise UserError(f"--only names {unknown[0]!r}, expected some of {', '.join(names)}")
    return [part._replace(limit=min(part.limit, limit)) for part in PARTS if part.name in wanted]
