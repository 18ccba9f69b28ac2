"""The erasure queue: due dates, approvals, keys that are shredded, unfinished erasures, suppression."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds what a durable, resumable queue needs; requests of the first revision were all completed or still open."""
    with op.batch_alter_table("requests") as requests:
        requests.add_column(sa.Column("datasets", sa.JSON, nullable=False, server_default="[]"))
        requests.add_column(sa.Column("due", sa.String, nullable=False, server_default=""))
        requests.add_column(sa.Column("actor", sa.String, nullable=False, server_default="local:unknown"))
        requests.add_column(sa.Column("approval", sa.String, nullable=False, server_default="none"))
        requests.add_column(sa.Column("reason", sa.String))
    with op.batch_alter_table("buckets") as buckets:
        buckets.add_column(sa.Column("next_digest", sa.String))
    with op.batch_alter_table("datasets") as datasets:
        datasets.add_column(sa.Column("policy", sa.JSON, nullable=False, server_default="{}"))
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
