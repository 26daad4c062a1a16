"""What python -m tools.house counts, on a package of three files."""

import pytest

from grokking.system.errors import UserError
from tools.house import counted, git

PACKAGE = {
    "grokking/sweeps/plan.py": (
        'def longer(a):\n    weight_decay = a  # a weight decay\n    return weight_decay == "Weight-decay"\n'
        'NAME = "sweep.json"\n'
    ),
    "grokking/sweeps/verdicts.py": "def short(): return weight_decay\n",
    "grokking/files/names.py": 'CONFIG = "config.json"\nif device == "cuda": pass\n',
}


def test_every_habit_is_counted_where_it_counts():
    assert counted(PACKAGE) == {
        "lines": "7",
        "modules": "3",
        "functions": "2",
        "lines of a function, median": "2",
        "lines of the longest function": "3",
        "weight decay named in sweeps, outside verdicts": "3",
        "places outside kernels that ask which backend": "1",
        "places that spell a file's name": "1",
    }


def test_a_commit_that_is_none_is_refused_in_gits_words():
    with pytest.raises(UserError, match="no-such-commit"):
        git("show", "no-such-commit")
