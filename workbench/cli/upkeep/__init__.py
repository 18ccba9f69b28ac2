"""Upkeep: backups, restores, and the demo."""
