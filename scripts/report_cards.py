#!/usr/bin/env python3
"""Report cards of several runs as one file: report_cards.py docs/results/report_cards.json RUN_DIR..."""

from _bootstrap import run

if __name__ == "__main__":
    run("grokking.report_cards")
