#!/usr/bin/env python3
"""Statistics and verdicts of a sweep: analyze_weight_decay_sweep.py SWEEP_DIR."""

from _bootstrap import run

if __name__ == "__main__":
    run("grokking.commands.analyze_sweep")
