"""What the CPU kernel is compiled of, and with which flags: for setup.py, and for scripts in a shell.

python3 build_cpu.py              the flags that change no number and suit every compiler
python3 build_cpu.py AVX512       those of one target of cpu_tile.cpp beside them
"""

import platform
import sys

STANDARD = ["-std=c++17", "-ffp-contract=fast", "-Wno-psabi"]
FLAGS = [
    *STANDARD,
    "-O3",
    "-g0",
    "-fvisibility=hidden",
    "-pthread",
]

AVX2 = ["-mavx2", "-mfma"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512vl", "-mavx512dq", "-mavx512bw"]
TARGETS = {  # cpu_tile.cpp is compiled once for each (csrc/cpu_target.h)
    "AVX512": [*AVX512, "-mprefer-vector-width=512"],
    "AVX2": AVX2,
    "BASELINE": [],
}


def units(cuda: bool) -> list[tuple[str, str, list[str]]]:
    """(name, source, extra flags) of every object file; the slowest to compile come first."""
    targets = TARGETS if platform.machine() in ("x86_64", "AMD64") else {"BASELINE": []}
    tiles = [
        (f"tile_{name.lower()}", "cpu_tile.cpp", [*flags, f"-DGRID_TARGET_{name}"])
        for name, flags in targets.items()
    ]
    others = [(name, f"{name}.cpp", []) for name in ("cpu", "cpu_reference")]
    if cuda:
        others.append(("bindings_cuda", "bindings_cuda.cpp", []))
    return [("bindings", "bindings.cpp", ["-DGRID_CUDA"] if cuda else []), *tiles, *others]


def main(arguments: list[str]) -> int:
    """Print the flags of a target, or the standard ones; exit code 2 for a target that is none."""
    if not arguments:
        print(*STANDARD)
    elif len(arguments) == 1 and arguments[0] in TARGETS:
        print(*TARGETS[arguments[0]], f"-DGRID_TARGET_{arguments[0]}")
    else:
        print(
            f"no target {' '.join(arguments)!r}, expected one of {', '.join(TARGETS)}",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
