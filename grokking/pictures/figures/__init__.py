"""Records to drawings, one file a kind of figure. Torch-free."""
