"""Train a one-layer transformer on modular addition and watch it grok.

    import grokking
    run = grokking.load("artifacts")        # or grokking.train(weight_decay=2.0, folder="artifacts/wd2")
    run.history.validation_accuracy, run.grok_epoch
    state = run.at(3000)                    # the network of the nearest recorded epoch
    state.predict(5, 7), state.surface(7)

Importing the package imports nothing heavy: torch, numpy and plotly are loaded by the modules that use
them, when they are used. docs/python.md has the rest.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from grokking.api.run import Run as Run
    from grokking.api.run import load as load
    from grokking.api.state import State as State
    from grokking.api.sweep import Sweep as Sweep
    from grokking.api.sweep import sweep as sweep
    from grokking.api.training import train as train

_HOMES = {
    "load": "grokking.api.run",
    "Run": "grokking.api.run",
    "State": "grokking.api.state",
    "Sweep": "grokking.api.sweep",
    "sweep": "grokking.api.sweep",
    "train": "grokking.api.training",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
