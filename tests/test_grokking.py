"""The phenomenon itself, in miniature: a network memorises, waits, then generalises; or never does."""

import json
from statistics import mean

SMALL = {  # a setting in which hundreds of epochs suffice, whatever the seed and the kernel
    "GROK_MODULUS": "37",
    "GROK_TRAIN_FRACTION": "0.45",
    "GROK_LEARNING_RATE": "1e-2",
    "GROK_D_MODEL": "64",
    "GROK_NUM_HEADS": "4",
    "GROK_D_MLP": "128",
    "GROK_SEED": "7",
    "GROK_CHECKPOINT_EVERY": "1000",
    "GROK_TRAJECTORY": "0",
}


def trained(grokking, folder, **variables):
    """What the run found, and validation accuracy by epoch."""
    done = grokking(**SMALL, **variables)
    assert done.returncode == 0, done.stderr
    found = json.loads((folder / "artifacts" / "grokking.json").read_text())
    history = json.loads((folder / "artifacts" / "accuracy_history.json").read_text())
    return found, history["validation_accuracies"]


def test_with_weight_decay_a_network_memorises_waits_and_generalises(grokking, tmp_path):
    decay = {"GROK_WEIGHT_DECAY": "1.5", "GROK_STOP_AFTER_GROK": "0"}
    found, accuracies = trained(grokking, tmp_path, GROK_NUM_EPOCHS="2000", **decay)
    memorised = found["memorization_epoch"]
    assert memorised < 100
    assert max(accuracies[: 3 * memorised]) < 0.5
    assert found["grokked"] and found["outcome"] == "grokked"
    assert mean(accuracies[-100:]) > 0.9


def test_without_weight_decay_it_stays_where_it_is(grokking, tmp_path):
    found, accuracies = trained(grokking, tmp_path, GROK_NUM_EPOCHS="800", GROK_WEIGHT_DECAY="0")
    assert found["memorization_epoch"] < 100
    assert max(accuracies) < 0.5
    assert not found["grokked"] and found["outcome"] == "memorised"
