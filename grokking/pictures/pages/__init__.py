"""Drawings to pages, one file a page. Torch-free."""
