"""One run: the loop, what it carries, what it leaves on disk."""
