"""What each page of a run may and may not say: a table of outcomes by pages, on small run folders.

A row holds words that the page must have and words that it must not have.
"""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.browser import Chromium
from tests.support.outcome_runs import COURSES, write_outcome

PAGES = {
    "report": "report.html",
    "film": "film.html",
    "gallery": "gallery.html",
    "index": "visualizations/index.html",
    "curves": "visualizations/training_history.html",
    "neuron": "visualizations/activation_surface_neuron_6.html",
}


class Says(NamedTuple):
    """Words of a page, and words that are not on it."""

    has: tuple[str, ...]
    lacks: tuple[str, ...]


# What a page may say only of a network that shows it.
STRUCTURE = (
    *("take over", "stand out: ", "hours of a clock", "Look for circles", "Look for bands"),
    *("Waves in the neurons", "Look for rows of hills", "Look for groups", "Look for the hills"),
    *("circuit grows", "end of memorisation phase"),
)
NONE = {
    "report": Says(
        (
            *("No few frequencies stand out", "The numbers do not lie on circles"),
            *("No waves in the neurons", "Restricted and excluded loss", "judged from 99%"),
        ),
        (*STRUCTURE, "PASS", "FAIL", "NOT YET"),
    ),
    "film": Says(("No neuron of this film ends as one wave",), STRUCTURE),
    "gallery": Says(("frequencies are key; a few would be at most",), STRUCTURE),
    "index": Says(("No waves in the neurons",), STRUCTURE),
    "curves": Says((), STRUCTURE),
    "neuron": Says((), ("Look for smooth hills",)),
}
NO_WEIGHTS = {**NONE, "index": Says((), (*STRUCTURE, "No waves"))}  # nothing was exported
ALL = {
    "report": Says(
        (
            *("A few frequencies take over the embedding", "Numbers on circles"),
            *("like the hours of a clock", "Waves in the neurons", "3, 8, 11"),
        ),
        ("No few", "do not lie", "No waves"),
    ),
    "film": Says(("Look for the hills that form out of noise",), ("No neuron of this film",)),
    "gallery": Says(("Look for groups", "(3, 8, 11)"), ("a few would be at most",)),
    "index": Says(("Waves in the neurons", "2 of 2 exported neurons are one wave"), ("No waves",)),
    "curves": Says((), ()),
    "neuron": Says(("Look for smooth hills",), ()),
}
STRUCTURES = {
    **dict.fromkeys(("untrained", "memoriser", "unfinished", "collapsed"), NONE),
    "diverged": NO_WEIGHTS,
    **dict.fromkeys(("at once", "just now", "converged", "p = 53"), ALL),
}

# What every page of a run says of its course.
NEITHER = ("Look for the gap", "no grokking", "grokked at", "collapsed", "diverged")
COURSE = {
    "untrained": Says(
        ("This run has not learned its training pairs by heart. At epoch 1 ",), NEITHER
    ),
    "memoriser": Says(
        ("This run knew its training pairs by heart at epoch 50 and has not generalised.",),
        ("grokked at", "no grokking", "not finished", "diverged"),
    ),
    "unfinished": Says(
        ("at epoch 50 and has not generalised.", "It has not finished", "208 of 416"),
        ("grokked at", "no grokking", "diverged"),
    ),
    "at once": Says(
        (
            "This run reached 90% validation accuracy for good at epoch 150, 50 epochs after "
            "memorising: ordinary learning, no grokking.",
        ),
        ("grokked at", "Look for the gap", "not finished"),
    ),
    "just now": Says(
        (
            "by heart at epoch 50 and grokked at epoch 250, 200 epochs later.",
            "93.00% on the others",
        ),
        ("no grokking", "collapsed"),
    ),
    "converged": Says(
        (
            "by heart at epoch 50 and grokked at epoch 250, 200 epochs later.",
            "100.00% on the others",
        ),
        ("no grokking", "collapsed", "not finished"),
    ),
    "collapsed": Says(
        (
            "grokked at epoch 250, 200 epochs later. At epoch 500 it collapsed: validation accuracy "
            "fell below 50%.",
            "2.00% on the others",
        ),
        ("no grokking", "diverged"),
    ),
    "diverged": Says(
        ("There it diverged: its loss was not finite",), ("grokked at", "not finished")
    ),
    "p = 53": Says(
        ("(a + b) mod 53", "modulus 53 (there 113)", "grokked at epoch 250"), ("mod 113", "mod 31")
    ),
}
TITLES = {  # of the first chapter and of the figure of the curves
    "untrained": "ot memorised",
    "memoriser": "emorised at epoch 50, not generalised",
    "unfinished": "emorised at epoch 50, not generalised",
    "at once": "eneralised at epoch 150, no grokking",
    "just now": "rokked at epoch 250",
    "converged": "rokked at epoch 250",
    "collapsed": "rokked at epoch 250, collapsed at epoch 500",
    "diverged": "emorised at epoch 50, not generalised, diverged",
    "p = 53": "rokked at epoch 250",
}


@pytest.fixture(scope="module", params=COURSES)
def outcome(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path]:
    """Name and folder of a run with each outcome."""
    name: str = request.param
    return name, write_outcome(tmp_path_factory.mktemp("runs") / "run", COURSES[name])


class Shown(HTMLParser):
    """The title and the text of a page, without scripts, styles and what has to be unfolded."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.title = self.text = ""
        self.inside: list[str] = []
        self.feed(html)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag in ("title", "script", "style", "details"):
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.inside and self.inside[-1] == tag:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.text += f"{data} "
        elif self.inside == ["title"]:
            self.title += data


def pages_of(outcome: tuple[str, Path]) -> dict[str, Shown]:
    """The pages that a run of this outcome has."""
    name, run = outcome
    absent = {"unfinished": ("index", "curves", "neuron"), "diverged": ("neuron",)}.get(name, ())
    there = {page: run / path for page, path in PAGES.items() if (run / path).exists()}
    assert set(PAGES) - set(there) == set(absent)
    return {page: Shown(path.read_text(encoding="utf-8")) for page, path in there.items()}


def check(page: str, text: str, says: Says) -> None:
    for words in says.has:
        assert words in text, f"{page} does not say {words!r}: {text[:3000]}"
    for words in says.lacks:
        assert words not in text, f"{page} says {words!r}: {text[:3000]}"


def test_every_page_says_what_became_of_the_run_and_nothing_else(outcome: tuple[str, Path]) -> None:
    for page, shown in pages_of(outcome).items():
        check(page, shown.text, COURSE[outcome[0]])


def test_no_page_claims_a_structure_that_the_weights_do_not_show(outcome: tuple[str, Path]) -> None:
    for page, shown in pages_of(outcome).items():
        check(page, shown.text, STRUCTURES[outcome[0]][page])


def test_the_gallery_marks_key_frequencies_where_they_are_few(outcome: tuple[str, Path]) -> None:
    html = (outcome[1] / PAGES["gallery"]).read_text(encoding="utf-8")
    assert html.count(", a key frequency: ") == (3 if STRUCTURES[outcome[0]] is ALL else 0)


def test_every_page_says_what_was_trained(outcome: tuple[str, Path]) -> None:
    p = COURSES[outcome[0]].modulus
    for page, shown in pages_of(outcome).items():
        assert f"mod {p}" in shown.title, page
        facts = (
            *(f"(a + b) mod {p}", "50% of the pairs", "one layer, d_model 32, 2 heads, d_mlp 48"),
            *("AdamW, full batch, learning rate 0.001", "betas 0.9 and 0.98, weight decay 1.0"),
            *("seed 42", "2026-03-04", "Test processor", "commit abcdef0 with changes, torch 2"),
            "departs from the reference experiment (Nanda et al., 2023): train fraction 0.5 (there 0.3)",
        )
        check(page, shown.text, Says(facts, ()))


def test_the_first_chapter_and_the_curves_are_titled_by_the_outcome(
    outcome: tuple[str, Path],
) -> None:
    pages = pages_of(outcome)
    for page in ("report", "index", "curves"):
        if page in pages:
            assert TITLES[outcome[0]] in pages[page].text


def test_every_page_opens_on_a_phone_without_complaint_or_sideways_scrolling(
    outcome: tuple[str, Path], chromium: Chromium
) -> None:
    paths = (outcome[1] / page for page in PAGES.values())
    for path in filter(Path.exists, paths):
        with chromium.open(path, 390, 844) as page:
            assert page.errors == [], path
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
