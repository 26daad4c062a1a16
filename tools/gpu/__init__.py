"""One call on a machine with a GPU, and what becomes of its figures."""
