"""A charge is known by an id of its own everywhere, and counts for the people of one identity type."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds the columns; a charge takes the identity type of its data set, and counts for everybody where that is gone."""
    op.add_column("charges", sa.Column("identity_type", sa.String))
    op.add_column("charges", sa.Column("uid", sa.String))
    op.execute("UPDATE charges SET uid = lower(hex(randomblob(16)))")
    op.execute(
        "UPDATE charges SET identity_type ="
        " (SELECT identity_type FROM datasets WHERE name = dataset AND datasets.population = charges.population)"
    )
    with op.batch_alter_table("charges") as table:
        table.alter_column("uid", nullable=False)
    op.create_index("charges_by_uid", "charges", ["uid"], unique=True)
    op.add_column("budgets", sa.Column("ceiling", sa.Float))
