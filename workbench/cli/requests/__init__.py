"""Erasure requests: who is to be forgotten, and what became of it."""
