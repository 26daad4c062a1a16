"""The transformer of the experiment, its folding into ten tables, and the loss."""
