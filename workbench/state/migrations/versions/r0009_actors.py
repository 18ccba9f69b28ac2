"""Names of those who act are kept beside the journal, which can't be changed, so that a name can go."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Adds the table; entries made before keep the names that they hold."""
    op.create_table(
        "actors",
        sa.Column("ref", sa.String, primary_key=True),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("name", sa.String),
    )
