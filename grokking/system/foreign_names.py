"""GROK_ variables that are none of ours: another program's, or a slip of the user's?

Other programs own variables of that prefix too, so an unknown name is an error only where it is
close to one of ours, or is what the field's other programs call one of our settings.
"""

from collections.abc import Sequence

from grokking.system.errors import UserError

ALIASES = {  # other programs' name -> ours
    "LR": "GROK_LEARNING_RATE",
    "WD": "GROK_WEIGHT_DECAY",
    "P": "GROK_MODULUS",
    "PRIME": "GROK_MODULUS",
    "N": "GROK_MODULUS",
    "FRAC_TRAIN": "GROK_TRAIN_FRACTION",
    "TRAIN_FRAC": "GROK_TRAIN_FRACTION",
    "EPOCH": "GROK_NUM_EPOCHS",
    "EPOCHS": "GROK_NUM_EPOCHS",
    "STEPS": "GROK_NUM_EPOCHS",
    "N_HEADS": "GROK_NUM_HEADS",
    "HEADS": "GROK_NUM_HEADS",
    "DATA_SEED": "GROK_SPLIT_SEED",
    "OPERATION": "GROK_TASK",
    "OUTPUT": "GROK_ARTIFACTS_DIR",
}
FOREIGN = ("GROK_API_KEY", "GROK_MODEL", "GROK_BASE_URL", "GROK_TOKEN")  # of a language model's API
LONG = 6  # letters from which a second edit leaves a word the same word


def check_foreign(variable: str, known: Sequence[str]) -> None:
    """UserError if an unknown GROK_ variable looks like one of the `known` ones or of their aliases."""
    if variable in FOREIGN:
        return
    names = {bare(name): name for name in known} | {bare(a): name for a, name in ALIASES.items()}
    distances = {name: edits(bare(variable), name) for name in names}
    near = [name for name, distance in distances.items() if distance <= allowed(variable, name)]
    if near:
        meant = names[min(near, key=distances.__getitem__)]
        raise UserError(f"{variable} is not a known variable (did you mean {meant}?); see --help")


def warning(unknown: Sequence[str]) -> str:
    """What to say, in one line, of the GROK_ variables that a command ignores."""
    names, verb = ", ".join(unknown), "is" if len(unknown) == 1 else "are"
    return f"warning: {names} {verb} not known here and {verb} ignored"


def bare(name: str) -> str:
    """A variable's or an alias's name as it is compared."""
    return name.removeprefix("GROK_").replace("_", "")


def allowed(variable: str, name: str) -> int:
    """Edits between two words that still are the same word."""
    return 2 if min(len(bare(variable)), len(name)) >= LONG else 1


def edits(first: str, second: str) -> int:
    """Letters inserted, removed, replaced, or swapped with their neighbour, from one word to another.

    Optimal string alignment, after Damerau (1964), Commun. ACM 7:171.
    """
    rows = [list(range(len(second) + 1))]
    for i, a in enumerate(first, 1):
        row = [i]
        for j, b in enumerate(second, 1):
            row.append(min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (a != b)))
            if i > 1 and j > 1 and (a, b) == (second[j - 2], first[i - 2]):
                row[-1] = min(row[-1], rows[-2][j - 2] + 1)
        rows.append(row)
    return rows[-1][-1]
