"""Tests, one file a module; support/ holds what they share."""
