"""Alembic's entry: runs the migrations in the write transaction of the connection that it is handed."""

from alembic import context

# It begins none of its own on SQLite: without one, a kill between a table and its revision number would tell
context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
