"""The numbers that docs/NOTES.md derives rather than measures."""

import math
import re

import numpy as np
import pytest

from grokking.analysis import progress_measures
from grokking.fourier import block_shares, cyclic_basis, diagonal_periodicity, wave_order
from tests.support.environment import ROOT

NOTES = (ROOT / "docs" / "NOTES.md").read_text()
P = 113


def margin(keys):
    """Height of sum_k cos(w_k d) at d = 0 above its largest value elsewhere."""
    d = np.arange(1, P)
    return len(keys) - sum(np.cos(2 * np.pi * k * d / P) for k in keys).max()


def table(heading):
    """Rows of the table whose header begins with `heading`, as lists of cells."""
    text = NOTES[NOTES.index(f"| {heading} |") :].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[2:]]


def test_margins_of_interference():
    rng = np.random.default_rng(0)
    for what, stated in table("frequencies"):
        if what.isdigit():
            draws = [rng.choice(np.arange(1, 57), int(what), replace=False) for _ in range(3000)]
            found, tolerance = np.median([margin(keys) for keys in draws]), 0.05 * float(stated)
        else:
            found, tolerance = margin([int(k) for k in re.findall(r"\d+", what)]), 0.005
        assert found == pytest.approx(float(stated), abs=tolerance)
    assert math.cos(2 * math.pi / P) == pytest.approx(0.99845, abs=5e-6)


@pytest.mark.parametrize(("amplitude", "stated"), [(6, "1.7e-6"), (8, "1.1e-8")])
def test_losses_of_summed_waves(amplitude, stated):
    d = np.arange(1, P)
    waves = sum(np.cos(2 * np.pi * k * d / P) for k in (14, 35, 41, 42, 52))
    loss = math.log1p(np.exp(amplitude * (waves - 5)).sum())
    assert f"{loss:.1e}".replace("e-0", "e-") == stated
    assert stated in NOTES


def test_shares_of_a_rectified_sum_of_cosines():
    a, b = np.ogrid[:P, :P]
    w = 2 * np.pi * 19 / P
    surface = np.maximum(np.cos(w * a) + np.cos(w * b), 0)
    centred = surface - surface.mean()

    def share(wave):
        wave = np.broadcast_to(wave, (P, P))
        return 100 * (wave * centred).sum() ** 2 / (wave**2).sum() / (centred**2).sum()

    found = [share(np.cos(w * a)), share(np.cos(w * (a + b))), share(np.cos(w * (a - b)))]
    found.append(100 * (1 - block_shares(surface, cyclic_basis(P))[18]))
    stated = [float(row[1].removesuffix(" %")) for row in table("part")]
    assert found == pytest.approx(stated, abs=0.05)
    assert share(np.cos(w * b)) == pytest.approx(found[0], abs=1e-9)


def test_the_diagonal_of_that_neuron():
    a, b = np.ogrid[:P, :P]
    w = 2 * np.pi * 19 / P
    surface = np.maximum(np.cos(w * a) + np.cos(w * b), 0)
    power = np.abs(np.fft.fft(np.diagonal(surface))) ** 2
    assert power[38] / power[19] == pytest.approx((4 / (3 * np.pi)) ** 2, abs=2e-3)
    assert power[0] / power.sum() == pytest.approx(0.41, abs=0.005)
    assert diagonal_periodicity(surface).strength == pytest.approx(0.25, abs=0.001)


def test_the_example_of_the_wave_order():
    stated = re.search(r"the order is ([\d, ]+), \.\.\.", NOTES).group(1)
    assert wave_order(P, 19, 4)[:6].tolist() == [int(n) for n in stated.split(",")]


def test_costs_follow_from_the_shapes():
    p, d_model, heads, d_mlp, d_head = 113, 128, 4, 512, 32
    attention = 3 * 4 * d_model**2
    unembedding, mixing = 3 * d_model * p, 2 * 9 * heads * d_head
    textbook = attention + 3 * 2 * d_model * d_mlp + unembedding + mixing
    folded = 2 * heads * d_mlp + d_mlp * p + 2 * heads * p
    rows = {row[0]: row[1:] for row in table("work")}
    stated = float(rows["textbook: three positions of everything"][0].replace(",", ""))
    assert textbook == pytest.approx(stated, rel=1e-3)
    assert folded == pytest.approx(float(rows["folded"][0].replace(",", "")), rel=1e-3)
    assert textbook * p * p == pytest.approx(8.1e9, rel=0.01)
    assert folded * p * p == pytest.approx(0.80e9, rel=0.01)
    head_width = heads * d_head
    tables = p * d_model * head_width + head_width * d_model * (d_mlp + p)
    tables += p * head_width * (d_mlp + p) + d_mlp * d_model * p
    assert tables == pytest.approx(0.029e9, rel=0.03)


def test_the_caption_of_the_figure_of_progress_measures():
    measures = progress_measures.read(ROOT / "docs" / "results")
    at = measures.epochs.index(6144)
    assert measures.restricted_losses[0] == pytest.approx(4.8, abs=0.05)
    assert measures.restricted_losses[at] == pytest.approx(0.7, abs=0.05)
    assert measures.validation_losses[at] == pytest.approx(13.6, abs=0.05)
    assert measures.validation_losses[at] / max(measures.validation_losses) == pytest.approx(
        0.5, abs=0.05
    )
    assert measures.validation_accuracies[at] == pytest.approx(0.14, abs=0.005)
    assert measures.excluded_losses[at] == pytest.approx(4.5, abs=0.05)
    assert min(measures.excluded_losses) == pytest.approx(3e-4, rel=0.2)
