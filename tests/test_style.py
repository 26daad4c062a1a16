"""One look per weight decay, told apart without colour too."""

import re

from grokking.pictures.style import value_styles
from tests.support.environment import ROOT


def test_the_usual_weight_decays_look_the_same_in_every_sweep() -> None:
    alone = value_styles([1.0])[1.0]
    assert value_styles([0.5, 1.0, 2.0])[1.0] == alone
    assert value_styles([7.0, 1.0, 0.123])[1.0] == alone


def test_no_two_weight_decays_of_a_sweep_look_alike() -> None:
    many = [n / 10 for n in range(40)]
    styles = value_styles([*many, *many])
    assert list(styles) == sorted(many)
    assert len(set(styles.values())) == len(many)


def test_seven_weight_decays_differ_in_colour_dash_or_marker_each() -> None:
    styles = list(value_styles([0.0, 0.1, 0.3, 0.5, 1.0, 2.0, 3.0]).values())
    assert len({style.color for style in styles}) == 7
    assert len({(style.dash, style.symbol) for style in styles}) == 7


def test_every_colour_of_a_picture_has_its_name_in_one_table() -> None:
    files = [
        path
        for kind in ("py", "js", "css", "html")
        for path in (ROOT / "grokking").rglob(f"*.{kind}")
    ]
    assert {"page.js", "figures.py"} <= {path.name for path in files}
    colored = {path.name for path in files if re.search(r"#[0-9a-fA-F]{6}\b", path.read_text())}
    assert colored == {"style.py"}
