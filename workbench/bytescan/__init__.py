"""A byte search of files, archives, databases and tables."""
