"""One file a subcommand: the only place that knows arguments and prints."""
