"""Bucket files of format 2: as many for each data set as its size asks for, and each named by its content."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add both columns; empty, they are those of format 1: six bits, and files named by their place."""
    op.add_column("datasets", sa.Column("bucket_bits", sa.Integer))
    op.add_column("buckets", sa.Column("format", sa.Integer))
