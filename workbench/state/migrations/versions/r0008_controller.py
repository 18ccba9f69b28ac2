"""A request knows the party that asks, where that is not the one who acted: the sender of a file in an inbox."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Adds the column; it stays empty for the requests that are there, whose controller is their actor."""
    op.add_column("requests", sa.Column("controller", sa.String))
