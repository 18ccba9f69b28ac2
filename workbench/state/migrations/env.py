"""Alembic's entry: runs the migrations on the connection it is handed, all of them or none."""

from alembic import context

connection = context.config.attributes["connection"]
# Before Alembic looks: it begins none of its own on SQLite, and a kill between a table and its revision number would tell
connection.exec_driver_sql("BEGIN IMMEDIATE")
context.configure(connection=connection)
context.run_migrations()
connection.exec_driver_sql("COMMIT")
