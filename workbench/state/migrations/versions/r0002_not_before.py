"""Requests may have to wait for the end of a window."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Adds the time before which a request is not carried out; those that are there already wait for none."""
    op.add_column("requests", sa.Column("not_before", sa.String))
