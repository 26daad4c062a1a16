"""The one tiny model, of which a run takes a moment: as variables of a program and as its settings."""

import os

from grokking.config import load

TINY = {
    "GROK_MODULUS": "7",
    "GROK_D_MODEL": "16",
    "GROK_NUM_HEADS": "2",
    "GROK_D_MLP": "24",
    "GROK_NUM_EPOCHS": "12",
    "GROK_CHECKPOINT_EVERY": "5",
    "GROK_THREADS": "1",
    "GROK_SKIP_VALIDATION": "1",
    "GROK_TRAIN_FRACTION": "0.5",
    "GROK_DEVICE": "cpu",
}
if "TEST_KERNEL" in os.environ:  # of all tiny runs
    TINY["GROK_KERNEL"] = os.environ["TEST_KERNEL"]
CONFIG = load(TINY).config
