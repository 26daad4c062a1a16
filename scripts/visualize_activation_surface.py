#!/usr/bin/env python3
"""Draw an exported activation surface: visualize_activation_surface.py SURFACE.json [OUT.html]."""

from _bootstrap import run

if __name__ == "__main__":
    run("grokking.commands.surfaces")
