"""The pictures of a run: which files, and an index from which all can be reached."""

from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs_version

from grokking.files.surfaces import Surface
from grokking.pictures.pages.run import write_run_pages
from tests.support.addition import addition
from tests.support.browser import Chromium
from tests.support.synthetic import described, flat_surface, history, phases, surface

LIBRARY = f"plotly-{get_plotlyjs_version()}.min.js"
SURFACES = [surface(31, 7, 102), flat_surface(31)]


def test_one_page_for_the_history_one_for_each_neuron_and_one_library(tmp_path: Path) -> None:
    written = write_run_pages(tmp_path, described(), history(), phases(), SURFACES, addition(113))
    folder = tmp_path / "visualizations"
    pages = {
        "index.html",
        "training_history.html",
        *(f"activation_surface_neuron_{i}.html" for i in (102, 3)),
    }
    assert {path.name for path in folder.iterdir()} == pages | {LIBRARY}
    assert written[0] == folder / "index.html"
    assert {path.name for path in written} == pages


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    first, again = (
        {
            p: p.read_bytes()
            for p in write_run_pages(
                tmp_path, described(), history(), phases(), SURFACES, addition(113)
            )
        }
        for _ in range(2)
    )
    assert first == again


@pytest.mark.parametrize("surfaces", (SURFACES, []))
def test_every_link_of_the_index_leads_to_a_page_that_works(
    tmp_path: Path, chromium: Chromium, surfaces: list[Surface]
) -> None:
    written = write_run_pages(tmp_path, described(), history(), phases(), surfaces, addition(113))
    with chromium.open(written[0]) as page:
        links = page.evaluate("[...document.querySelectorAll('main li a')].map(a => a.href)")
        assert page.errors == []
    assert sorted(links) == sorted(path.as_uri() for path in written[1:])
    library = (tmp_path / "visualizations" / LIBRARY).as_uri()
    for path in written[1:]:
        with chromium.open(path, 390, 844) as page:
            assert page.errors == []
            assert page.requests == [path.as_uri(), library]
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
