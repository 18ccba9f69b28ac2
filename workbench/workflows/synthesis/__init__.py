"""Synthetic tables: fit a generator, release, sample."""
