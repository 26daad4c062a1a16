"""Every file of a run: its name, its format, how it is written and checked when it is read back."""
