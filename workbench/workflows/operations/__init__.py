"""The workspace as a whole: backups, checks, lineage, jobs."""
