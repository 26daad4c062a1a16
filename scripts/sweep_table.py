#!/usr/bin/env python3
"""A sweep's table and verdicts as Markdown: sweep_table.py SWEEP_DIR [OUT.md]."""

from _bootstrap import run

if __name__ == "__main__":
    run("grokking.commands.sweep_table")
