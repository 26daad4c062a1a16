"""Where the parts run: tools that are installed but not on PATH, packages carried as wheels.

Standard library only.
"""

import os
import sysconfig
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from tools.gpu.record import ROOT

WHEELS = ROOT / "tools" / "gpu" / "wheels"  # filled by wheels.sh
CUDA = Path("/usr/local/cuda")
NSIGHT = Path("/opt/nvidia/nsight-compute")


def environment(work: Path, inherited: Mapping[str, str] = os.environ) -> dict[str, str]:
    """That of every part: without the caller's GROK_ settings; whatever is cached goes to `work`."""
    kept = {name: value for name, value in inherited.items() if not name.startswith("GROK_")}
    (work / "tmp").mkdir(exist_ok=True)
    paths = [str(ROOT), *filter(None, [inherited.get("PYTHONPATH")]), str(work / "site")]
    return {
        **kept,
        "PATH": os.pathsep.join([inherited.get("PATH", os.defpath), *map(str, folders(inherited))]),
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(work / "tmp"),
        "TRITON_CACHE_DIR": str(work / "triton"),
        "CUDA_CACHE_PATH": str(work / "jit"),
    }


def folders(inherited: Mapping[str, str]) -> list[Path]:
    """Where CUDA's tools may be beside PATH, best first."""
    named = [Path(inherited[v]) / "bin" for v in ("CUDA_HOME", "CUDA_PATH") if inherited.get(v)]
    packages = Path(sysconfig.get_path("purelib"))
    return [
        *named,
        CUDA / "bin",
        CUDA / "compute-sanitizer",
        *sorted(NSIGHT.glob("*"), reverse=True),
        *sorted(packages.glob("nvidia/cu*/bin"), reverse=True),
    ]


def unpack_wheels(site: Path, wheels: Path = WHEELS) -> list[str]:
    """Unpack what this Python lacks into `site`; what was done, or could not be, in words.

    Wheels of pure Python only, which need no more than that.
    """
    site.mkdir(parents=True, exist_ok=True)
    told = []
    for wheel in sorted(wheels.glob("*.whl")):
        name, version, *_ = wheel.name.split("-")
        if is_installed(name):
            continue
        try:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
            told.append(f"{name} {version} comes from a carried wheel")
        except (OSError, zipfile.BadZipFile) as error:
            told.append(f"{wheel.name} cannot be unpacked: {error}")
    return told


def is_installed(package: str) -> bool:
    """Has this Python a package of that name?"""
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
