"""Tables: workspaces, schemas, ingest, budgets."""
