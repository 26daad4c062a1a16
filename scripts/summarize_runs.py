#!/usr/bin/env python3
"""Print finished runs in a few numbers: summarize_runs.py RUN_DIR ... > docs/results/NAME.json"""

from _bootstrap import run

if __name__ == "__main__":
    run("grokking.run_summary")
