#!/usr/bin/env python3
"""Rewrite the tables of the docs from docs/results: update_docs.py [--check]"""

from _bootstrap import run

if __name__ == "__main__":
    run("grokking.docs_tables")
