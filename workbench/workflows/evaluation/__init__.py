"""Evaluations, audits and attacks, and their reports."""
