"""Embedding tables: one file a source, and their concatenation."""
