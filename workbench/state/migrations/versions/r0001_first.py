"""The first revision of the workspace database."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates every table. A revision spells its tables out: what `tables.py` says will change."""
    op.create_table(
        "datasets",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("population", sa.String, nullable=False),
        sa.Column("identity_type", sa.String, nullable=False),
        sa.Column("schema", sa.JSON, nullable=False),
        sa.Column("ingest", sa.String, nullable=False),
        sa.Column("mlflow_run", sa.String, nullable=False),
        sa.Column("created", sa.String, nullable=False),
        sa.Column("policy", sa.JSON, nullable=False),
    )
    op.create_table(
        "buckets",
        sa.Column("dataset", sa.String, primary_key=True),
        sa.Column("split", sa.String, primary_key=True),
        sa.Column("bucket", sa.Integer, primary_key=True),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("next_digest", sa.String),
    )
    op.create_table(
        "appends",
        sa.Column("dataset", sa.String, primary_key=True),
        sa.Column("digests", sa.JSON, nullable=False),
    )
    op.create_table(
        "budgets",
        sa.Column("population", sa.String, primary_key=True),
        sa.Column("epsilon", sa.Float, nullable=False),
        sa.Column("delta", sa.Float, nullable=False),
    )
    op.create_table(
        "charges",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("population", sa.String, nullable=False, index=True),
        sa.Column("dataset", sa.String, nullable=False),
        sa.Column("purpose", sa.String, nullable=False),
        sa.Column("event", sa.JSON, nullable=False),
        sa.Column("scope", sa.JSON, nullable=False),
        sa.Column("adjacency", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("created", sa.String, nullable=False),
    )
    op.create_table(
        "journal",
        sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("previous", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
    )
    op.create_table(
        "artifacts",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("dataset", sa.String, nullable=False, index=True),
        sa.Column("digest", sa.String),
        sa.Column("path", sa.String),
        sa.Column("derived_from", sa.JSON, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("created", sa.String, nullable=False),
    )
    op.create_table(
        "requests",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("identity_type", sa.String, nullable=False),
        sa.Column("commitment", sa.String, nullable=False),
        sa.Column("received", sa.String, nullable=False),
        sa.Column("completed", sa.String),
        sa.Column("certificate", sa.String),
        sa.Column("datasets", sa.JSON, nullable=False),
        sa.Column("due", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("approval", sa.String, nullable=False),
        sa.Column("reason", sa.String),
    )
    op.create_table(
        "quarantine",
        sa.Column("request", sa.String, primary_key=True),
        sa.Column("dataset", sa.String, primary_key=True),
        sa.Column("token", sa.LargeBinary, primary_key=True),
        sa.Column("point", sa.String, nullable=False),
        sa.Column("slice_point", sa.String, nullable=False),
        sa.Column("split", sa.String, nullable=False),
    )
    op.create_table(
        "vault",
        sa.Column("request", sa.String, primary_key=True),
        sa.Column("key", sa.LargeBinary, nullable=False),
        sa.Column("box", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "erasures",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("step", sa.String, nullable=False),
        sa.Column("state", sa.JSON, nullable=False),
        sa.Column("created", sa.String, nullable=False),
        sa.Column("updated", sa.String, nullable=False),
    )
    op.create_table(
        "suppressions",
        sa.Column("token", sa.LargeBinary, primary_key=True),
        sa.Column("identity_type", sa.String, nullable=False),
        sa.Column("request", sa.String, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("config", sa.JSON, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("worker", sa.String),
        sa.Column("lease_until", sa.Float, nullable=False),
        sa.Column("cancel", sa.Boolean, nullable=False),
        sa.Column("progress", sa.Float, nullable=False),
        sa.Column("text", sa.String, nullable=False),
        sa.Column("result", sa.JSON, nullable=False),
        sa.Column("created", sa.String, nullable=False),
        sa.Column("updated", sa.String, nullable=False),
    )
