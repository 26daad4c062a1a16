"""What python -m tools.house counts, on a package of three files."""

import pytest

from grokking.system.errors import UserError
from tests.support.environment import require
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


def test_what_git_refuses_is_said_in_its_first_line():
    require("git")
    with pytest.raises(UserError, match="'no-such-command' is not a git command"):
        git("no-such-command")
