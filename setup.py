"""Package metadata. `pip install -e .` is all a user runs."""

import pathlib
import re

from setuptools import setup

ROOT = pathlib.Path(__file__).parent


def version() -> str:
    """The one version number, kept in grokking/__init__.py."""
    text = (ROOT / "grokking" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'__version__ = "([^"]+)"', text).group(1)


setup(
    name="grokking",
    version=version(),
    description="Train, watch and dissect grokking in modular addition, on a laptop.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=["grokking"],
    install_requires=["torch>=2.10", "numpy>=2.2", "plotly>=6.0", "tqdm>=4.66"],
    extras_require={"test": ["pytest>=8", "hypothesis>=6.100"]},
    entry_points={"console_scripts": ["grokking = grokking.__main__:main"]},
)
