"""Data sets: proposed schemas, ingest, append, profiles and budgets."""
