"""Branches of a run: the control arm is the run bit for bit, and what changes is what was asked for."""

import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

import grokking
from grokking.commands import branch as command
from grokking.commands.cli import run_main
from grokking.commands.progress import Progress
from grokking.commands.report import write_report
from grokking.files import branches
from grokking.files.branches import other_arm, parse_changes, read_branch
from grokking.files.checkpoint import load_checkpoint, save_checkpoint
from grokking.files.history import read_history
from grokking.files.json_files import read_json, write_json
from grokking.files.run_files import read_grokking
from grokking.model.loss import cross_entropy
from grokking.model.transformer import Transformer
from grokking.system.errors import UserError
from grokking.training.clamp import squares_of
from grokking.training.run import Ended
from tests.support.environment import ROOT, clean_environment, held_at
from tools.reliability.forked import differences, outcome, plain, train

AT = 10
FORK = "checkpoint_fork.pt"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A run of 24 epochs with checkpoints every 3, of which 21 and 24 are there in the end."""
    folder = tmp_path_factory.mktemp("original") / "run"
    assert train(folder) == 0
    return folder


@pytest.fixture
def run(original, tmp_path):
    shutil.copytree(original, tmp_path / "run")
    return tmp_path / "run"


def branch(*words):
    """The exit code of `grokking branch`, as a user gets it."""
    return run_main(lambda: command.main([str(word) for word in words]))


def computed(folder):
    """All that a run has computed; the pages of a branch show the other arm, too."""
    return {
        name: value
        for name, value in outcome(folder).items()
        if name != FORK and not name.startswith("visualizations/")
    }


def assert_same_run(ours, theirs):
    assert differences(computed(ours), computed(theirs)) == []


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(capsys, *words):
    """The one line that a refusal is, which leaves everything as it was."""
    capsys.readouterr()
    assert branch(*words) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: ") and line.count("\n") == 1
    return line


def weights(folder, epoch=None):
    name = "checkpoint_labeled/final.pt" if epoch is None else f"trajectory/epoch_{epoch:06}.pt"
    return load_checkpoint(folder / name)["model"]


def squares(model):
    return sum(w.double().square().sum().item() for w in model.values())


def tampered(path, change):
    """A checkpoint that is intact, with other weights than its run had."""
    record = load_checkpoint(path)
    change(record)
    save_checkpoint(path, record)


# --- the control arm ---------------------------------------------------------------------------


@pytest.mark.parametrize("variables", [{}, {"GROK_BATCH_SIZE": "5"}, {"GROK_PROBE_EVERY": "4"}])
@pytest.mark.parametrize("at", [0, 1, AT, 22])  # 22: from the checkpoint of epoch 21
def test_the_control_arm_is_the_run_bit_for_bit(tmp_path, original, variables, at, capsys):
    run, folder = original, tmp_path / "control"
    if variables:
        run = tmp_path / "run"
        assert train(run, **variables) == 0
    before = contents(run)
    assert branch(run, "--at", at, "--output", folder) == 0
    assert contents(run) == before
    assert_same_run(folder, run)
    told = capsys.readouterr().out
    assert (
        "from epoch 21;" if at == 22 else "from epoch 0;" if at else "holds it"
    ) in told or not at
    assert "the control arm" in told


def test_the_pages_of_the_control_arm_are_of_a_run_like_any_other(run, tmp_path):
    assert branch(run, "--at", AT, "--output", tmp_path / "control") == 0
    files = {str(p.relative_to(tmp_path / "control")) for p in contents(tmp_path / "control")}
    assert {str(p.relative_to(run)) for p in contents(run)} == files - {FORK}


def test_a_longer_run_keeps_what_its_control_arm_keeps(tmp_path):
    """Of which the trajectory has been thinned since."""
    run, long = tmp_path / "run", {"GROK_NUM_EPOCHS": "230", "GROK_PROBE_EVERY": "50"}
    assert train(run, **long, GROK_CHECKPOINT_EVERY="100") == 0
    assert not (run / "trajectory" / "epoch_000027.pt").exists()
    assert branch(run, "--at", 70, "--output", tmp_path / "control") == 0
    assert_same_run(tmp_path / "control", run)


def test_a_whole_run_folder_stands_before_the_first_step(run, tmp_path, monkeypatch):
    """With all that its run had at the fork, and nothing of what came after it."""
    monkeypatch.setattr("grokking.training.branch.train_run", lambda *_: Ended(0, ""))
    assert branch(run, "--at", AT, "--output", tmp_path / "b") == 0
    short = tmp_path / "short"
    assert train(short, GROK_NUM_EPOCHS=str(AT)) == 0
    ours, theirs = outcome(tmp_path / "b"), outcome(short)
    for name in ("loss_history.json", "accuracy_history.json", "measures.npy"):
        assert ours[name] == theirs[name]
    assert [n for n in ours if n.startswith(("traj", "checkpoint_l"))] == [
        n
        for n in theirs
        if n.startswith(("traj", "checkpoint_labeled")) and n != "checkpoint_labeled/final.pt"
    ]
    state, whole = ours[FORK], theirs["checkpoint_latest.pt"]
    assert {key: state[key] for key in whole if key != "sha256"} == whole


def test_a_run_in_progress_is_branched_up_to_its_newest_checkpoint(run, tmp_path, capsys):
    """It holds its lock, and nobody waits for it."""
    from grokking.files.folder import claimed

    (run / "grokking.json").unlink()
    (run / "loss_history.json").write_text("{")  # being written
    for name in ("loss_history.json", "accuracy_history.json"):
        (run / name).unlink()
    with claimed(run):
        assert branch(run, "--at", AT, "--output", tmp_path / "control") == 0
    assert read_grokking(tmp_path / "control")["final_epoch"] == 24
    shutil.rmtree(run / "trajectory")
    for path in run.glob("checkpoint_*.pt"):
        path.unlink()
    assert "has no checkpoint yet" in refused(capsys, run, "--at", AT, "--output", tmp_path / "b")


def test_variables_of_the_environment_do_not_apply(run, tmp_path, monkeypatch):
    monkeypatch.setenv("GROK_WEIGHT_DECAY", "3")
    monkeypatch.setenv("GROK_SEED", "9")
    monkeypatch.setenv("GROK_THREADS", "2")
    assert branch(run, "--at", AT, "--output", tmp_path / "control") == 0
    assert_same_run(tmp_path / "control", run)


def test_it_is_computed_as_the_run_was_whatever_auto_comes_to_here(run, tmp_path):
    record = read_json(run / "config.json")
    record["config"]["kernel"]["value"], record["config"]["threads"]["value"] = "auto", None
    write_json(run / "config.json", record)
    assert branch(run, "--at", AT, "--output", tmp_path / "control") == 0
    assert_same_run(tmp_path / "control", run)
    made = read_json(tmp_path / "control" / "config.json")
    assert [(s["kernel"], s["threads"]) for s in made["starts"]] == 2 * [("torch", 1)]
    assert made["config"]["kernel"] == {
        "value": "torch",
        "source": "branch",
        "variable": "GROK_KERNEL",
    }


def test_a_table_and_a_split_of_its_own_and_random_answers(tmp_path):
    table = tmp_path / "table.json"
    table.write_text(str([[(a * b + 1) % 7 for b in range(7)] for a in range(7)]))
    run = tmp_path / "run"
    assert train(run, GROK_TASK=f"file:{table}", GROK_SPLIT_SEED="5") == 0
    table.unlink()
    assert branch(run, "--at", AT, "--output", tmp_path / "control") == 0
    copies = [folder / "task.json" for folder in (run, tmp_path / "control")]
    assert copies[0].read_bytes() == copies[1].read_bytes()
    for path in copies:
        path.unlink()  # a list, of which no result is made
    assert_same_run(tmp_path / "control", run)
    assert train(tmp_path / "random", GROK_TASK="random") == 0
    assert branch(tmp_path / "random", "--at", AT, "--output", tmp_path / "other") == 0
    assert_same_run(tmp_path / "other", tmp_path / "random")


# --- what changes ------------------------------------------------------------------------------


def by_hand(run, steps, **settings):
    """The weights some steps after the state of a run's newest checkpoint, in plain PyTorch."""
    record = load_checkpoint(run / "checkpoint_latest.pt")
    model = Transformer(7, 16, 2, 24, torch.Generator())
    model.load_state_dict(record["model"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-8, fused=True, **settings)
    for name, parameter in model.named_parameters():
        optimizer.state[parameter] = record["optimizer"][name]
    pairs = record["train_pairs"]
    a, b = pairs // 7, pairs % 7
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 1e-3 * min((record["epoch"] + step) / 10, 1)
        loss = cross_entropy(model.logits_at_equals(a, b), (a + b) % 7).double().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return {name: p.detach() for name, p in model.named_parameters()}


@pytest.mark.parametrize(
    ("change", "settings"),
    [
        ("weight_decay=0", {"betas": (0.9, 0.98), "weight_decay": 0.0}),
        ("weight_decay=7", {"betas": (0.9, 0.98), "weight_decay": 7.0}),
        ("beta1=0.5", {"betas": (0.5, 0.98), "weight_decay": 1.0}),
        ("beta2=0.9", {"betas": (0.9, 0.9), "weight_decay": 1.0}),
    ],
)
def test_a_changed_setting_holds_from_the_fork_on(run, tmp_path, change, settings):
    short = tmp_path / "short"
    assert train(short, GROK_NUM_EPOCHS=str(AT)) == 0
    assert branch(run, change, "--at", AT, "--output", tmp_path / "b") == 0
    assert plain(weights(tmp_path / "b")) == plain(by_hand(short, 24 - AT, **settings))
    assert plain(weights(tmp_path / "b", AT)) == plain(weights(run, AT))
    assert plain(weights(tmp_path / "b")) != plain(weights(run))


def test_config_tells_of_the_fork_and_what_changed_there(run, tmp_path):
    words = ("weight_decay=0", "learning_rate=0.002", "clamp_norm=2")
    assert branch(run, *words, "--at", AT, "--output", tmp_path / "b") == 0
    record = read_json(tmp_path / "b" / "config.json")
    assert record["branch"] == {
        "run": "../run",
        "name": "run",
        "at": AT,
        "exact": True,
        "clamp": 2.0,
        "changes": {"weight_decay": 0.0, "learning_rate": 0.002, "clamp_norm": 2.0},
        "before": {"weight_decay": 1.0, "learning_rate": 0.001, "clamp_norm": None},
    }
    entry = record["config"]["weight_decay"]
    assert (entry["value"], entry["source"]) == (0.0, "branch")
    assert record["config"]["modulus"]["source"] == "environment"
    assert record["config"]["beta1"]["source"] == "default"
    assert [start["epoch"] for start in record["starts"]] == [0, AT]


def test_another_optimiser_begins_with_fresh_moments(run, tmp_path):
    assert branch(run, "--at", AT, "--output", tmp_path / "b", "optimizer=adam") == 0
    end = load_checkpoint(tmp_path / "b" / "checkpoint_latest.pt")["optimizer"]
    assert {moments["step"].item() for moments in end.values()} == {24 - AT}
    assert branch(run, "--at", AT, "--output", tmp_path / "c", "weight_decay=2") == 0
    end = load_checkpoint(tmp_path / "c" / "checkpoint_latest.pt")["optimizer"]
    assert {moments["step"].item() for moments in end.values()} == {24}


def test_beta2_goes_with_an_optimiser_that_has_no_use_for_it(tmp_path, run):
    assert train(tmp_path / "other", GROK_BETA2="0.9") == 0
    folder = tmp_path / "b"
    assert branch(tmp_path / "other", "--at", AT, "--output", folder, "optimizer=sgd") == 0
    again = {"GROK_OPTIMIZER": "sgd", "GROK_RESUME": "1", "GROK_NUM_EPOCHS": "30"}
    assert train(folder, **again) == 0


def test_the_runs_own_value_is_no_change(run, tmp_path):
    assert branch(run, "weight_decay=1", "--at", AT, "--output", tmp_path / "b") == 0
    assert read_branch(tmp_path / "b").changes == {}
    assert_same_run(tmp_path / "b", run)


def test_a_branch_may_go_further_than_its_run(run, tmp_path):
    assert train(tmp_path / "long", GROK_NUM_EPOCHS="40") == 0
    folder = tmp_path / "b"
    assert branch(run, "num_epochs=40", "--at", 24, "--output", folder) == 0
    ours, theirs = computed(folder), computed(tmp_path / "long")
    assert differences(ours, theirs) == []


@pytest.mark.parametrize(
    "words", [(), ("optimizer=sgd",), ("optimizer=muon", "learning_rate=0.01")]
)
@pytest.mark.parametrize("batch", [None, "5"])
def test_clamp_norm_holds_the_norm_after_every_step(run, tmp_path, words, batch):
    if batch:
        run = tmp_path / "batches"
        assert train(run, GROK_BATCH_SIZE=batch) == 0
    folder = tmp_path / "b"
    assert branch(run, *words, "clamp_norm=1.5", "--at", AT, "--output", folder) == 0
    at_fork = squares(weights(run, AT))
    for epoch in (AT + 1, AT + 2, 16, 24):
        assert squares(weights(folder, epoch)) == pytest.approx(1.5 * at_fork, rel=1e-6)
    assert abs(squares(weights(run, 24)) / at_fork - 1.5) > 1e-3  # as it would not by itself


# --- a branch that is cut off ------------------------------------------------------------------


@pytest.fixture
def stopped(monkeypatch):
    """`stopped(n)`: the next training or replay gets SIGTERM at epoch n."""

    def at(number):
        def update(self, epoch, history):
            if epoch == number:
                monkeypatch.undo()
                signal.raise_signal(signal.SIGTERM)

        monkeypatch.setattr(Progress, "update", update)

    return at


CHANGES = (("weight_decay=0", "clamp_norm=1"), ())


@pytest.mark.parametrize("changes", CHANGES)
def test_a_stopped_branch_goes_on_bit_for_bit(run, tmp_path, stopped, changes, capsys):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert branch(run, *changes, "--at", AT, "--output", whole) == 0
    stopped(17)
    assert branch(run, *changes, "--at", AT, "--output", cut) == 128 + signal.SIGTERM
    assert f"continue with: python -m grokking branch --resume {cut}\n" in capsys.readouterr().err
    assert load_checkpoint(cut / "checkpoint_latest.pt")["epoch"] == 17
    at_fork = squares(weights(run, AT))
    shutil.move(run, tmp_path / "elsewhere")  # it goes on without its run
    assert branch("--resume", cut) == 0
    assert_same_run(cut, whole)
    if changes:
        assert squares(weights(cut)) == pytest.approx(at_fork, rel=1e-6)
    assert read_json(cut / "config.json")["branch"] == read_json(whole / "config.json")["branch"]
    assert branch("--resume", cut) == 0
    assert "finished; nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("variables", [{}, {"GROK_WEIGHT_DECAY": "0"}])
def test_the_variables_of_a_run_keep_the_clamp_or_are_refused(
    run, tmp_path, stopped, variables, capsys
):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    changes = ("weight_decay=0", "clamp_norm=1")
    assert branch(run, *changes, "--at", AT, "--output", whole) == 0
    stopped(17)
    branch(run, *changes, "--at", AT, "--output", cut)
    if variables:
        assert train(cut, GROK_RESUME="1", **variables) == 0
        assert_same_run(cut, whole)
        assert read_branch(cut) == read_branch(whole)
        return
    with pytest.raises(UserError, match=rf"resume with python -m grokking branch --resume {cut}"):
        train(cut, GROK_RESUME="1")


def test_a_killed_branch_goes_on_bit_for_bit(run, tmp_path):
    folder = tmp_path / "killed"
    words = ("branch", run, "--at", AT, "--output", folder, "clamp_norm=1")
    process = subprocess.Popen(
        [sys.executable, "-m", "grokking", *map(str, words)],
        env=clean_environment(**held_at("epoch_000011.pt")),  # before its first checkpoint
        cwd=ROOT,
    )
    recorded = folder / "trajectory" / "epoch_000011.pt"
    while not recorded.exists() and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (folder / "checkpoint_latest.pt").exists()
    assert branch("--resume", folder) == 0
    assert branch(run, "--at", AT, "--output", tmp_path / "whole", "clamp_norm=1") == 0
    assert_same_run(folder, tmp_path / "whole")


def test_stopped_while_replaying_it_leaves_nothing(run, tmp_path, stopped, capsys):
    before = contents(tmp_path)
    stopped(5)
    code = branch(run, "--at", AT, "--output", tmp_path / "b")
    assert code == 128 + signal.SIGTERM
    assert "nothing was written" in capsys.readouterr().err
    assert contents(tmp_path) == before
    assert not (tmp_path / "b").exists()


def test_a_branch_that_was_killed_while_it_was_made_is_made_again(run, tmp_path, capsys):
    folder = tmp_path / "b"
    assert branch(run, "--at", AT, "--output", folder) == 0
    for path in contents(folder):
        if path.name not in ("config.json", "epoch_000003.pt"):
            path.unlink()
    assert "make it again" in refused(capsys, "--resume", folder)
    with pytest.raises(UserError, match="make it again"):
        train(folder, GROK_RESUME="1", GROK_KERNEL="torch")
    assert branch(run, "--at", AT, "--output", folder) == 0
    assert_same_run(folder, run)


def test_a_disk_that_fails_leaves_nothing_of_a_branch(run, tmp_path, monkeypatch):
    def failing(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.link", failing)  # as where there are no hard links
    monkeypatch.setattr(shutil, "copyfile", failing)
    assert branch(run, "--at", AT, "--output", tmp_path / "b") == 1
    assert not [path for path in (tmp_path / "b").iterdir() if path.name != ".lock"]


# --- a run that cannot be repeated -------------------------------------------------------------


def test_a_changed_loss_is_found_at_its_epoch(run, tmp_path, capsys):
    record = read_json(run / "loss_history.json")
    record["validation_losses"][7] += 1e-12
    write_json(run / "loss_history.json", record)
    for at in (AT, 22):  # in the replay, and in the checkpoint that it begins with
        line = refused(capsys, run, "--at", at, "--output", tmp_path / "b")
        assert "epoch 7 does not come out as it was recorded (its losses" in line
        assert "--inexact" in line
    assert not (tmp_path / "b").exists()
    assert branch(run, "--at", 6, "--output", tmp_path / "b") == 0


@pytest.mark.parametrize("name", ["trajectory/epoch_000008.pt", "checkpoint_labeled/initial.pt"])
def test_changed_weights_are_found_at_their_epoch(run, tmp_path, capsys, name):
    def change(record):
        value = record["model"]["W_out"][3, 4]
        record["model"]["W_out"][3, 4] = torch.nextafter(value, value + 1)

    tampered(run / name, change)
    line = refused(capsys, run, "--at", AT, "--output", tmp_path / "b")
    epoch = 8 if "trajectory" in name else 0
    assert f"epoch {epoch} does not come out as it was recorded (W_out in {run / name})" in line
    assert not (tmp_path / "b").exists()


def test_a_run_that_went_on_otherwise_is_repeated_after_that_only(tmp_path, capsys):
    run = tmp_path / "run"
    assert train(run, GROK_NUM_EPOCHS="9") == 0
    assert train(run, GROK_RESUME="inexact", GROK_THREADS="2") == 0
    assert branch(run, "--at", 8, "--output", tmp_path / "a", "num_epochs=9") == 0
    line = refused(capsys, run, "--at", AT, "--output", tmp_path / "b")
    assert "another kernel, device or thread count at epoch 9, so that epoch 10 cannot" in line
    assert branch(run, "--at", 23, "--output", tmp_path / "b") == 0
    assert_same_run(tmp_path / "b", run)


def test_a_kernel_that_this_machine_lacks_takes_inexact(run, tmp_path, capsys):
    record = read_json(run / "config.json")
    record["starts"][0]["kernel"] = "avx1024"
    write_json(run / "config.json", record)
    line = refused(capsys, run, "--at", AT, "--output", tmp_path / "b")
    assert "was computed with kernel avx1024 on cpu, which this machine cannot do" in line
    assert branch(run, "--at", AT, "--output", tmp_path / "b", "--inexact") == 0
    starts = read_json(tmp_path / "b" / "config.json")["starts"]
    assert [start["inexact"] for start in starts] == [False, True]


def test_inexact_begins_with_recorded_weights_and_fresh_moments(run, tmp_path, capsys):
    record = read_json(run / "loss_history.json")
    record["validation_losses"][7] += 1e-12
    write_json(run / "loss_history.json", record)
    folder = tmp_path / "b"
    assert branch(run, "--at", AT, "--output", folder, "--inexact", "weight_decay=0") == 0
    assert "with fresh moments: not exact" in capsys.readouterr().out
    begun = load_checkpoint(folder / FORK)
    assert plain(begun["model"]) == plain(weights(run, AT))
    assert begun["optimizer"] == {}
    assert read_history(folder).up_to(AT) == read_history(run).up_to(AT)
    assert read_branch(folder).exact is False
    assert "not exact" in (folder / "visualizations" / "training_history.html").read_text()
    (run / "trajectory" / "epoch_000019.pt").unlink()
    line = refused(capsys, run, "--at", 19, "--output", tmp_path / "c", "--inexact")
    assert "no recorded weights of epoch 19; the nearest are 17, 18, 20, 21" in line


# --- wrong input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--at", 3, "--output", "b", "weight_decy=0"), "did you mean weight_decay?"),
        (("--at", 3, "--output", "b", "modulus=7"), "it can change weight_decay, learning_rate"),
        (("--at", 3, "--output", "b", "weight_decay"), "expected NAME=VALUE"),
        (("--at", 3, "--output", "b", "weight_decay=-1"), "expected a number >= 0"),
        (("--at", 3, "--output", "b", "weight_decay=1", "weight_decay=2"), "changed twice"),
        (("--at", 3, "--output", "b", "clamp_norm=0"), "clamp_norm is '0', expected a number > 0"),
        (("--at", 3, "--output", "b", "optimizer=sgd", "beta2=0.5"), "beta2 is changed, but"),
        (("--at", 3, "--output", "b", "num_epochs=3"), "nothing would be left to train"),
        (("--at", 24, "--output", "b"), "add num_epochs=N with more"),
        (("--at", 25, "--output", "b", "num_epochs=99"), "has come to epoch 24; expected 0 to 24"),
        (("--at", -1, "--output", "b"), "--at is -1, expected an epoch >= 0"),
        (("--output", "b"), "--at is missing"),
        (("--at", 3), "--output is missing"),
        (
            ("--at", 3, "--output", "run"),
            "already holds a run; choose another folder with --output",
        ),
        (("--resume", "run"), "expected no RUN"),
    ],
)
def test_wrong_input_is_one_line_and_nothing_is_written(
    run, tmp_path, capsys, monkeypatch, words, told
):
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    assert told in refused(capsys, "run", *words)
    assert contents(tmp_path) == before and not (tmp_path / "b").exists()


def test_a_folder_without_a_run_or_a_branch(run, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    target = ("--at", 3, "--output", tmp_path / "b")
    assert "holds no run" in refused(capsys, tmp_path / "empty", *target)
    assert "which holds no branch" in refused(capsys, "--resume", run)
    assert "which holds no branch" in refused(capsys, "--resume", tmp_path / "empty")
    assert "the folder of a run is missing" in refused(capsys, *target, "weight_decay=0")


def test_imported_weights_have_no_branches(run, tmp_path, capsys):
    record = read_json(run / "config.json")
    told = {"file": "x.pt", "form": "ours", "training_pairs": None, "changes": []}
    write_json(run / "config.json", {**record, "imported": told})
    for more in ((), ("--inexact",)):
        line = refused(capsys, run, "--at", 3, "--output", tmp_path / "b", *more)
        assert "holds imported weights" in line


def test_a_run_over_by_its_stop_rule_is_forked_earlier(run, tmp_path, capsys, monkeypatch):
    from grokking import detection

    for name, value in {"THRESHOLD": 0, "MEMORIZED": 0, "LATENESS": 0, "WINDOW": 3}.items():
        monkeypatch.setattr(detection, name, value)
    folder = tmp_path / "stopping"
    late = {"GROK_CHECKPOINT_EVERY": "100"}  # so that the replay itself drops what is decided
    assert train(folder, GROK_STOP_AFTER_GROK="3", **late) == 0
    assert read_grokking(folder)["final_epoch"] == 6
    assert "by its stop rule" in refused(capsys, folder, "--at", 6, "--output", tmp_path / "b")
    for at in (2, 4):  # before the label `grokked` was confirmed, and after
        assert branch(folder, "--at", at, "--output", tmp_path / f"b{at}") == 0
        assert_same_run(tmp_path / f"b{at}", folder)
        kept = load_checkpoint(tmp_path / f"b{at}" / FORK)["kept"]  # of candidates, until decided
        assert list(kept) == (["0", "1", "2"] if at == 2 else [])


# --- branches of branches ----------------------------------------------------------------------


def test_a_branch_is_a_run_like_any_other(run, tmp_path, capsys):
    first = tmp_path / "first"
    assert branch(run, "--at", AT, "--output", first, "clamp_norm=1", "weight_decay=0") == 0
    for path in (first / "checkpoint_latest.pt", first / "checkpoint_previous.pt"):
        path.unlink()
    assert branch(first, "--at", 15, "--output", tmp_path / "control") == 0
    ours, theirs = computed(tmp_path / "control"), computed(first)
    assert differences(ours, theirs) == ["checkpoint_latest.pt"]  # which was removed there
    line = refused(capsys, first, "--at", 5, "--output", tmp_path / "c")
    assert "is itself a branch that begins at epoch 10; branch run" in line


# --- pages -------------------------------------------------------------------------------------


def test_pages_show_both_arms_and_say_what_the_branch_is(run, tmp_path):
    folder = tmp_path / "b"
    assert branch(run, "--at", AT, "--output", folder, "weight_decay=0", "clamp_norm=1") == 0
    told = (
        "This is a branch of run at epoch 10: weight decay 0 in place of 1, the sum of all squared "
        "weights held as it was."
    )
    write_report(folder, output=folder)
    for name in (
        "visualizations/training_history.html",
        "visualizations/index.html",
        "report.html",
    ):
        page = (folder / name).read_text()
        assert told in page
        assert "Grey: the original run, from epoch 10 on." in page
        for text in ("validation, branch", "validation, original", "fork at 10"):
            assert text in page
    figure = grokking.load(folder).figure("curves")
    arms = {trace.name: trace for trace in figure.data}
    history = read_history(run)
    assert list(arms["validation, original"].x) == history.epochs[AT:]
    assert list(arms["validation, original"].y) == history.validation_accuracies[AT:]
    assert list(arms["validation, branch"].x) == read_history(folder).epochs


@pytest.mark.parametrize("gone", [True, False])
def test_without_its_run_a_branch_says_so(run, tmp_path, gone):
    folder = tmp_path / "b"
    assert branch(run, "--at", AT, "--output", folder, "weight_decay=0") == 0
    shutil.rmtree(run)
    if not gone:
        assert train(run, GROK_SEED="3") == 0
    arm = other_arm(folder, read_history(folder))
    assert arm.history is None
    write_report(folder, output=folder)
    page = (folder / "report.html").read_text()
    why = "is no longer where it was (../run)" if gone else "holds another run now (../run)"
    assert f"The original run is not shown: its folder {why}." in page
    assert "validation, original" not in page


def test_both_can_move_together(run, tmp_path):
    assert branch(run, "--at", AT, "--output", tmp_path / "run" / "b", "weight_decay=0") == 0
    shutil.move(run, tmp_path / "moved")
    folder = tmp_path / "moved" / "b"
    assert other_arm(folder, read_history(folder)).history is not None


# --- from Python -------------------------------------------------------------------------------


def test_run_branch_trains_it_and_gives_the_run(run, tmp_path, capsys):
    loaded = grokking.load(run)
    made = loaded.branch(
        at=AT, folder=tmp_path / "b", progress=False, weight_decay=0.0, clamp_norm=1.0
    )
    assert made.finished and made.config.weight_decay == 0.0
    assert capsys.readouterr().err == ""
    assert (
        branch(run, "--at", AT, "--output", tmp_path / "c", "weight_decay=0", "clamp_norm=1") == 0
    )
    assert_same_run(tmp_path / "b", tmp_path / "c")
    again = loaded.branch(
        AT, tmp_path / "b", resume=True, progress=False, weight_decay=0.0, clamp_norm=1.0
    )
    assert again.finished
    with pytest.raises(ValueError, match=r"holds a branch at epoch 10 with weight_decay=0\.0"):
        loaded.branch(AT, tmp_path / "b", resume=True, progress=False)
    with pytest.raises(ValueError, match="already holds a run; choose another folder"):
        loaded.branch(AT, tmp_path / "b", progress=False)
    with pytest.raises(TypeError, match=r"branch\(\): a branch cannot change 'modulus'"):
        loaded.branch(AT, tmp_path / "d", modulus=5)
    with pytest.raises(ValueError, match="weight_decay is -1, expected a number >= 0"):
        loaded.branch(AT, tmp_path / "d", weight_decay=-1)
    with pytest.raises(ValueError, match="at is 99, but"):
        loaded.branch(99, tmp_path / "d", num_epochs=200, progress=False)
    (run / "trajectory" / "epoch_000019.pt").unlink()
    with pytest.raises(ValueError, match="no recorded weights of epoch 19"):
        loaded.branch(19, tmp_path / "d", exact=False, progress=False)
    assert not (tmp_path / "d").exists()


def test_one_replay_serves_several_branches(run, tmp_path):
    from grokking.api.training import Silent
    from grokking.system.signals import StopRequest
    from grokking.training.branch import fork_state, train_branch, write_branch

    fork = fork_state(run, AT, Silent, StopRequest())
    for name, changes in {"a": {}, "b": {"weight_decay": 0.0}, "c": {"clamp_norm": 1.0}}.items():
        write_branch(fork, tmp_path / name, changes)
        assert train_branch(tmp_path / name, Silent, StopRequest()).exit_code == 0
    assert squares_of(fork.state.model) == squares(weights(run, AT))
    assert_same_run(tmp_path / "a", run)
    for name, change in {"b": "weight_decay=0", "c": "clamp_norm=1"}.items():
        alone = tmp_path / f"{name} alone"
        assert branch(run, "--at", AT, "--output", alone, change) == 0
        assert_same_run(tmp_path / name, alone)


def test_every_name_that_can_change_is_read_from_words():
    values = {"weight_decay": "0", "learning_rate": "1e-2", "beta1": "0.5", "beta2": "0.9"}
    values |= {"optimizer": "sgd", "num_epochs": "30", "clamp_norm": "2"}
    assert set(values) == set(branches.CHANGEABLE)
    changes = parse_changes([f"{name}={text}" for name, text in values.items()])
    branches.check_changes(changes)
    assert changes["num_epochs"] == 30 and changes["optimizer"] == "sgd"


# --- a folder of branches ----------------------------------------------------------------------


def test_a_folder_of_branches_is_a_sweep_of_what_they_change(run, tmp_path, capsys):
    """Its cells are the values, its control arm the run, and nothing is claimed of weight decay."""
    from grokking.sweeps.analysis import analyze

    arms = tmp_path / "arms"
    words = [str(run), "--at", "20", "--output", str(arms), "--vary", "weight_decay=0:2:1"]
    assert command.main(words) == 0
    assert sorted(path.name for path in arms.glob("wd*")) == [
        f"wd{wd}_seed42" for wd in ("0.0", "1.0", "2.0")
    ]
    assert "branch 3 of 3: wd2.0_seed42" in capsys.readouterr().out
    own = load_checkpoint(run / "checkpoint_latest.pt")["model"]
    for decay, same in ((0.0, False), (1.0, True), (2.0, False)):
        other = load_checkpoint(arms / f"wd{decay}_seed42" / "checkpoint_latest.pt")["model"]
        assert all(torch.equal(own[name], other[name]) for name in own) == same
    sweep, summary = analyze(arms)
    assert [cell["values"] for cell in summary["cells"]] == [
        {"weight_decay": decay} for decay in (0.0, 1.0, 2.0)
    ]
    assert sweep.warnings == [] and summary["verdicts"] == [] and summary["delay_laws"] == []
    assert (arms / "plots" / "index.html").exists()
    assert command.main(["--resume", str(arms)]) == 0


def test_a_branch_is_no_repetition_of_a_run_with_its_settings(run, tmp_path):
    """It had other weights up to the fork, or another norm after it."""
    from grokking.sweeps.folder import read_sweep

    shutil.copytree(run, tmp_path / "s" / "run")
    for name, change in {"late": "weight_decay=2", "held": "clamp_norm=1"}.items():
        assert (
            command.main([str(run), "--at", "20", "--output", str(tmp_path / "s" / name), change])
            == 0
        )
    found = read_sweep(tmp_path / "s")
    fields = ("weight_decay", "clamp_norm", "forked_at")
    assert {*fields, "forked_from"} == {*found.fields}
    assert {r.directory: tuple(r.values[name] for name in fields) for r in found.runs} == {
        "run": (1.0, None, None),
        "late": (2.0, None, 20),
        "held": (1.0, 1.0, 20),
    }
    assert found.faults == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--vary", "weight_decay=1", "weight_decay=2"],
            "--vary names weight_decay, which is given twice",
        ),
        (["--vary", "num_epochs=90,100"], "--vary names num_epochs, which is one for all branches"),
        (["--vary", "seed=1"], "a branch cannot change 'seed'"),
        (["--vary", "clamp_norm=0,1"], "--vary has '0', expected a number > 0"),
        (["--vary", "weight_decay"], "--vary is 'weight_decay', expected NAME=VALUES"),
    ],
)
def test_a_wrong_folder_of_branches_is_told_and_nothing_is_written(run, tmp_path, words, message):
    output = tmp_path / "arms"
    with pytest.raises(UserError) as caught:
        command.main([str(run), "--at", "20", "--output", str(output), *words])
    assert message in str(caught.value) and not output.exists()


def test_branches_of_unlike_runs_are_no_repetitions(run, tmp_path):
    """Of another origin, of recorded weights only, or with a norm that a branch before them holds."""
    from grokking.sweeps.analysis import analyze

    other = tmp_path / "other"
    assert train(other, GROK_WEIGHT_DECAY="3", GROK_SKIP_VALIDATION="1") == 0
    inside = tmp_path / "s"
    assert branch(run, "--at", "20", "--output", inside / "one", "weight_decay=2") == 0
    assert branch(other, "--at", "20", "--output", inside / "two", "weight_decay=2") == 0
    held = inside / "held"
    assert branch(run, "--at", "18", "--output", held, "clamp_norm=0.5", "weight_decay=2") == 0
    assert branch(held, "--at", "20", "--output", inside / "still_held") == 0
    assert read_branch(inside / "still_held").clamp == 0.5
    at = sorted(int(p.stem[-6:]) for p in (run / "trajectory").glob("epoch_*.pt"))[-2]
    assert (
        branch(run, "--at", at, "--output", inside / "inexact", "--inexact", "weight_decay=2") == 0
    )
    sweep, summary = analyze(inside)
    assert sweep.faults == [] and len(sweep.runs) == 5
    assert all(len(cell["runs"]) == 1 for cell in summary["cells"])


def test_the_pages_of_branches_say_what_they_are(run, tmp_path):
    arms = tmp_path / "arms"
    assert branch(run, "--at", "20", "--output", arms, "--vary", "weight_decay=0,2") == 0
    for page in (arms / "plots").glob("*.html"):
        assert "These runs are branches of run at epoch 20" in page.read_text(), page.name


def test_a_folder_of_branches_is_made_whole_by_resuming(run, tmp_path, capsys):
    """An arm that was cut off while it was made, one that is gone, and one that diverged."""
    arms = tmp_path / "arms"
    assert (
        branch(run, "--at", "20", "--output", arms, "--vary", "learning_rate=0.001,1e30,0.002") == 1
    )
    names = ["learning_rate0.001_seed42", "learning_rate1e+30_seed42", "learning_rate0.002_seed42"]
    assert [read_grokking(arms / name)["outcome"] for name in names][1] == "diverged"
    assert (arms / "plots" / "index.html").exists()
    shutil.rmtree(arms / names[0])
    for path in (arms / names[2]).glob("checkpoint_*.pt"):
        path.unlink()
    (arms / names[2] / "grokking.json").unlink()
    capsys.readouterr()
    assert branch("--resume", arms) == 1  # the diverged one stays so
    assert all((arms / name / "grokking.json").exists() for name in names)
    assert branch("--resume", arms) == 1
    shutil.rmtree(arms / names[1])
    record = read_json(arms / "branches.json")
    del record["changes"][names[1]]
    write_json(arms / "branches.json", record)
    assert branch("--resume", arms) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"changes": {"../x": {}}}, "'changes' names the folder '../x', expected a name within"),
        ({"changes": {"x": {"seed": 1}}}, "a branch cannot change 'seed'"),
        ({"at": -1}, "'at' is -1, expected an epoch"),
        ({"changes": []}, "'changes' is a list, expected an object"),
    ],
)
def test_a_damaged_plan_of_branches_is_named(run, tmp_path, capsys, change, message):
    branches.write_arms(tmp_path / "arms", branches.Arms("../run", 20, True, {"a": {}}))
    record = read_json(tmp_path / "arms" / "branches.json")
    write_json(tmp_path / "arms" / "branches.json", record | change)
    assert message in refused(capsys, "--resume", tmp_path / "arms")


def test_a_branch_is_not_written_among_other_files(run, tmp_path, capsys):
    """As into the folder of a sweep, which would then be read as one run."""
    (tmp_path / "sweep" / "wd1.0_seed1").mkdir(parents=True)
    before = contents(tmp_path)
    assert "is not empty; choose another folder" in refused(
        capsys, run, "--at", "20", "--output", tmp_path / "sweep"
    )
    assert contents(tmp_path) == before
    with pytest.raises(ValueError, match="is not empty"):
        grokking.load(run).branch(at=20, folder=tmp_path / "sweep", progress=False)
