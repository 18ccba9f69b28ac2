"""The first revision of the workspace database."""

from alembic import op

from workbench.state.tables import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates every table."""
    metadata.create_all(op.get_bind())
