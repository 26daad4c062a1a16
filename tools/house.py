"""The size and the habits of the package at any commit: python -m tools.house [COMMIT...]

Without one the working tree. Lines, modules, functions; and how often sweeps name weight decay outside
verdicts, code outside kernels asks which backend it has, and code outside names.py spells a file's name.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path
from statistics import median

from grokking.commands.cli import Parser, run_main
from grokking.files.markdown import table
from grokking.system.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
WEIGHT_DECAY = re.compile(r"weight[ _-]decay", re.IGNORECASE)
WHICH_BACKEND = re.compile(
    r"""[!=]= ?["']?(?:CUDA|cuda|TORCH|torch)\b["']?|isinstance\([^)]*(?:Cuda|Cpu|Reference)\b"""
    r"""|name is (?:not )?None|\.fused\b"""
)
FILE_NAME = re.compile(r"""["'][\w*{}]+\.(?:json|pt|npy|html|log|txt)["']""")


def git(*words: str) -> str:
    """What git prints; UserError in its own words."""
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
    if done.returncode != 0:
        raise UserError(done.stderr.strip().splitlines()[0])
    return done.stdout


def package(commit: str | None) -> dict[str, str]:
    """Path -> text of every module of the package."""
    if commit is None:
        paths = sorted((ROOT / "grokking").rglob("*.py"))
        texts = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}
    else:
        listed = git("ls-tree", "-r", "--name-only", commit, "--", "grokking").splitlines()
        texts = {path: git("show", f"{commit}:{path}") for path in listed if path.endswith(".py")}
    return {path: text for path, text in texts.items() if not path.endswith("_build_info.py")}


def code(text: str) -> str:
    """The lines without comments at their ends."""
    return "\n".join(line.split("  # ")[0] for line in text.splitlines())


def counted(texts: dict[str, str]) -> dict[str, str]:
    """What there is to say of a package -> its number."""
    functions = [
        node.end_lineno - node.lineno + 1
        for text in texts.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.end_lineno
    ]
    sweeps = [t for p, t in texts.items() if re.search(r"/sweeps?/(?!verdicts)", p)]
    callers = [t for p, t in texts.items() if not re.search(r"/kernels/|kernel_|/ops\.py", p)]
    spelling = [t for p, t in texts.items() if not p.endswith("files/names.py")]

    def places(pattern: re.Pattern[str], among: list[str]) -> str:
        return str(sum(len(pattern.findall(code(text))) for text in among))

    return {
        "lines": f"{sum(text.count(chr(10)) for text in texts.values()):,}",
        "modules": str(len(texts)),
        "functions": f"{len(functions):,}",
        "lines of a function, median": f"{median(functions):g}",
        "lines of the longest function": str(max(functions)),
        "weight decay named in sweeps, outside verdicts": places(WEIGHT_DECAY, sweeps),
        "places outside kernels that ask which backend": places(WHICH_BACKEND, callers),
        "places that spell a file's name": places(FILE_NAME, spelling),
    }


def main() -> int:
    """Print one column a commit."""
    parser = Parser(prog="python -m tools.house", description=(__doc__ or "").split(":")[0])
    parser.add_argument("commits", nargs="*", metavar="COMMIT", help="[the working tree]")
    commits: list[str | None] = parser.parse_args().commits or [None]
    columns = [counted(package(commit)) for commit in commits]
    rows = [[what, *(column[what] for column in columns)] for what in columns[0]]
    print(table(["", *(commit or "working tree" for commit in commits)], rows), end="")
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
