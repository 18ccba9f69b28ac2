"""Erasures: accept, decide, execute, verify, certify."""
