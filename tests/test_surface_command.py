"""`grokking surface`: any neuron of a run at any recorded epoch."""

import numpy as np
import pytest

import grokking as package
from grokking.files.folder import run_files
from grokking.files.surfaces import read_surface

D_MLP = 24


@pytest.fixture
def run(grokking, tmp_path):
    assert grokking().returncode == 0
    return package.load(tmp_path / "artifacts")


def test_neurons_of_an_earlier_epoch_carry_it_in_their_names(grokking, run):
    done = grokking("surface", "artifacts", "3", "0", "--epoch", "7")
    assert (done.returncode, done.stderr) == (0, "")
    for neuron in (3, 0):
        path = run.folder / f"activation_surface_neuron_{neuron}_epoch_7.json"
        surface = read_surface(path)
        assert (surface.neuron_index, surface.modulus, surface.epoch) == (neuron, 7, 7)
        np.testing.assert_allclose(surface.values, run.at(7).surface(neuron), rtol=1e-6)
        page = run.folder / "visualizations" / f"{path.stem}.html"
        assert {path, page} <= set(run_files(run.folder))
        assert f"{path.relative_to(run.folder.parent)}" in done.stdout
        assert "epoch 7" in page.read_text()
    assert "Neuron 3, mod 7, epoch 7" in done.stdout


def test_of_the_last_state_they_are_those_that_the_run_exports(grokking, run):
    exported = run.folder / "activation_surface_neuron_4.json"
    before = exported.read_bytes()
    done = grokking("surface", "artifacts", "4", "5")
    assert (done.returncode, done.stderr) == (0, "")
    assert exported.read_bytes() == before
    assert (run.folder / "activation_surface_neuron_5.json").exists()


def test_an_epoch_that_is_not_recorded_gives_the_nearest_and_says_so(grokking, run):
    done = grokking("surface", "artifacts", "1", "--epoch", "500")
    assert done.returncode == 0
    assert done.stdout.startswith("epoch 500 is not recorded; the nearest that is, 12, is drawn\n")
    assert (run.folder / "activation_surface_neuron_1.json").exists()


def test_all_and_the_best(grokking, run):
    done = grokking("surface", "artifacts", "--all", "--epoch", "2")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(run.folder.glob("activation_surface_neuron_*_epoch_2.json"))) == D_MLP
    assert "24 surfaces in artifacts" in done.stdout

    done = grokking("surface", "artifacts", "--best", "3", "--epoch", "1")
    found = run.folder.glob("activation_surface_neuron_*_epoch_1.json")
    shares = {read_surface(p).neuron_index: read_surface(p).wave.share for p in found}
    every = run.at(1).most_periodic(D_MLP)
    assert set(shares) == set(every[:3])
    assert every == sorted(every, key=lambda n: -wave_share(run.at(1).surface(n)))


def wave_share(values):
    from grokking.fourier import cyclic_basis, strongest_wave

    wave = strongest_wave(values, cyclic_basis(len(values)))
    return -1.0 if wave is None else round(wave.share, 5)


def test_they_outlive_a_run_that_goes_on(grokking, run):
    assert grokking("surface", "artifacts", "3", "--epoch", "7").returncode == 0
    assert grokking(GROK_RESUME="1", GROK_NUM_EPOCHS="15").returncode == 0
    assert (run.folder / "activation_surface_neuron_3_epoch_7.json").exists()
    assert grokking(GROK_OVERWRITE="1").returncode == 0
    assert not (run.folder / "activation_surface_neuron_3_epoch_7.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["artifacts"], "expected neurons by number, or --all, or --best N; see --help"),
        (
            ["artifacts", "1", "--all"],
            "expected neurons by number, or --all, or --best N; see --help",
        ),
        (["artifacts", "24"], "neuron 24 is not there, expected 0 to 23"),
        (["artifacts", "--best", "0"], "--best is 0, expected 1 to 24"),
        (["nowhere", "1"], "nowhere/config.json: no such file"),
    ],
)
def test_what_is_wrong_is_one_line_and_writes_nothing(grokking, run, arguments, message):
    before = run_files(run.folder)
    done = grokking("surface", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {message}\n")
    assert run_files(run.folder) == before


def test_without_recorded_weights_there_is_nothing_but_the_end(grokking, tmp_path):
    assert grokking(GROK_TRAJECTORY="0").returncode == 0
    done = grokking("surface", "artifacts", "9", "--epoch", "3")
    assert (done.returncode, done.stderr) == (0, "")
    assert "the nearest that is, 12, is drawn" in done.stdout
    assert (tmp_path / "artifacts" / "activation_surface_neuron_9.json").exists()
