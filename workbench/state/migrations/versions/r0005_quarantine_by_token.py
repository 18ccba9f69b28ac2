"""Who is under quarantine is looked up by token, without reading all who are."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Adds the index."""
    op.create_index("quarantine_by_token", "quarantine", ["token"])
