"""Do one part: python -m tools.gpu.parts NAME RESULT [ARGUMENT ...]"""

import sys
from importlib import import_module
from pathlib import Path

from tools.gpu.parts.part import EXIT_MISSING, Missing


def main(name: str, result: str, *arguments: str) -> int:
    try:
        import_module(f"{__package__}.{name}").main(Path(result), *arguments)
    except Missing as error:
        reason = str(error)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("grokking", "tools"):
            raise
        reason = f"{error.name} is missing from {sys.executable}"
    else:
        return 0
    print(reason, flush=True)
    return EXIT_MISSING


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
