"""Train a one-layer transformer on modular addition and watch it grok.

Importing the package imports nothing heavy: torch, numpy and plotly are loaded
by the modules that use them.
"""

__version__ = "0.1.0"
