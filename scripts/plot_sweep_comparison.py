#!/usr/bin/env python3
"""Pages of pictures of a sweep, in its plots/: plot_sweep_comparison.py SWEEP_DIR."""

from _bootstrap import run

if __name__ == "__main__":
    run("grokking.commands.plot_sweep")
