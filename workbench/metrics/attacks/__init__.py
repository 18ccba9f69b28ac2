"""Attacks: what an outsider learns of people from a release, from an ensemble's answers, and from an erasure."""
