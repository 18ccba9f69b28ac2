"""A job's row may say what lies behind its progress: the slices of each shard that are trained."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds the column; jobs of before have told nothing."""
    op.add_column("jobs", sa.Column("detail", sa.JSON, nullable=False, server_default="{}"))
