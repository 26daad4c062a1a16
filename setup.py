"""Package metadata, and the build of the fused kernel. `pip install -e .` is all a user runs.

GROK_BUILD_EXT = auto (the default: without a working compiler, fall back to plain PyTorch and
say so when a run starts), 0 (do not build) or 1 (a build that fails is an error).
GROK_BUILD_CUDA = the same three for the CUDA kernels inside it, which need nvcc but no GPU.
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))  # pip builds without it
import build_cpu  # noqa: E402
import build_cuda  # noqa: E402

NATIVE = "csrc"


def version() -> str:
    """The one version number, kept in grokking/__init__.py."""
    text = (ROOT / "grokking" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'__version__ = "([^"]+)"', text).group(1)


def requested(variable: str) -> str:
    """GROK_BUILD_EXT or GROK_BUILD_CUDA, checked."""
    value = os.environ.get(variable) or "auto"  # an empty one is unset
    if value not in ("auto", "0", "1"):
        sys.exit(f"{variable} is {value!r}, expected auto, 0 or 1")
    return value


def first_complaint(output: str) -> str:
    """The line of a failed build that says what was wrong, or its first."""
    lines = output.strip().splitlines() or ["no message"]
    telling = [line for line in lines if "error:" in line or "not found" in line]
    return " ".join((telling or lines)[0].split())[:200]


class BuildKernel(build_ext):
    """Compiles the object files side by side, links them, and records why when it cannot."""

    cuda_fallback = ""  # why there is no CUDA in the extension

    def run(self) -> None:
        wanted, reason, inplace = requested("GROK_BUILD_EXT"), None, self.inplace
        if wanted == "0":
            reason = "the extension was switched off by GROK_BUILD_EXT=0 when it was installed"
        else:
            try:
                super().run()
            except Exception as error:  # whatever the compiler or its absence raises
                if wanted == "1" or isinstance(error, build_cuda.NoToolkit):
                    raise
                reason = f"the extension could not be built ({first_complaint(str(error))})"
        self.inplace = inplace  # setuptools forgets it when its run() raises
        if reason:
            self.extensions.clear()
            print(f"grokking: plain PyTorch will be used, because {reason}", file=sys.stderr)
        self.record(reason)

    def record(self, fallback: str | None) -> None:
        """Leave the reason in the package: pip hides what a build prints."""
        folder = pathlib.Path(self.get_ext_fullpath("grokking._C")).parent
        folder.mkdir(parents=True, exist_ok=True)
        text = f'"""Written by setup.py."""\n\nFALLBACK = {fallback!r}\n'
        text += f"CUDA_FALLBACK = {fallback or self.cuda_fallback!r}\n"
        (folder / "_build_info.py").write_text(text, encoding="utf-8")

    def build_extension(self, extension: Extension) -> None:
        kernels, libraries = self.cuda_parts()
        target = pathlib.Path(self.get_ext_fullpath(extension.name)).resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = pathlib.Path(self.build_temp).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        self.write_ninja(folder / "build.ninja", target, kernels, libraries)
        ninja = [sys.executable, "-m", "ninja", "-C", str(folder), "--quiet"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(ninja, **pipes, text=True, errors="replace")
        if done.returncode != 0:
            raise RuntimeError(done.stdout)

    def write_ninja(
        self, file: pathlib.Path, target: pathlib.Path, kernels: list[str], libraries: list[str]
    ) -> None:
        """The plan of the build: one object per unit, then the module; headers are tracked."""
        import pybind11  # build requirements, absent where setup.py only reads metadata
        from ninja.ninja_syntax import Writer, escape

        includes = [*self.compiler.include_dirs, pybind11.get_include(), str(ROOT / NATIVE)]
        common = [*self.compiler.compiler_so, *build_cpu.FLAGS, *(f"-I{path}" for path in includes)]
        linker = [self.compiler.compiler_cxx[0], *self.compiler.linker_so[1:]]
        with file.open("w", encoding="utf-8") as text:
            ninja = Writer(text, width=10_000)
            common_flags, link = escape(shlex.join(common)), escape(shlex.join(linker))
            compile_command = f"{common_flags} $flags -MMD -MF $out.d -c $in -o $out"
            ninja.rule("compile", compile_command, depfile="$out.d", deps="gcc")
            ninja.rule("link", f"{link} $in -o $out -pthread {escape(shlex.join(libraries))}")
            objects = [str(pathlib.Path(kernel).resolve()) for kernel in kernels]
            for name, source, flags in build_cpu.units(cuda=bool(kernels)):
                path = str(ROOT / NATIVE / source)
                objects += ninja.build(f"{name}.o", "compile", path, variables={"flags": flags})
            ninja.build(str(target), "link", objects)

    def cuda_parts(self) -> tuple[list[str], list[str]]:
        """(object files, linker options) of the CUDA kernels, or none, with the reason kept."""
        wanted = requested("GROK_BUILD_CUDA")
        if wanted == "0":
            self.cuda_fallback = "CUDA was switched off by GROK_BUILD_CUDA=0 when it was installed"
            return [], []
        try:
            return build_cuda.build(ROOT / NATIVE, pathlib.Path(self.build_temp) / "grid_cuda.o")
        except build_cuda.NoToolkit as error:
            if wanted == "1":
                raise
            self.cuda_fallback = f"the extension was built without CUDA: {error}"
            return [], []


setup(
    name="grokking-lab",  # `grokking` on PyPI is somebody else's; what one imports is `grokking`
    version=version(),
    description="Train, watch and dissect grokking in modular addition, on a laptop.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    keywords=["grokking", "mechanistic interpretability", "modular addition", "transformer"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Operating System :: MacOS",
        "Programming Language :: C++",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3.14",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10",
    package_dir={"": "."},  # installed with -e, it is found before a folder of its own name
    packages=find_packages(include=["grokking", "grokking.*"]),
    package_data={"grokking": ["py.typed"], "grokking.pictures": ["static/*"]},
    install_requires=[
        "torch>=2.10",
        "numpy>=2.2",
        "plotly>=6.0",
        "threadpoolctl>=3.5",
        "tqdm>=4.66",
    ],
    extras_require={
        "test": [
            "pytest>=9",
            "pytest-timeout>=2.4",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "playwright>=1.50",  # drives the system's Chromium; its own browsers are not installed
            "safetensors>=0.4",
        ],
        "bench": ["transformer-lens==3.9.0"],  # the last release with HookedTransformer
    },
    entry_points={"console_scripts": ["grokking = grokking.__main__:main"]},
    ext_modules=[Extension("grokking._C", sources=[])],
    cmdclass={"build_ext": BuildKernel},
)
