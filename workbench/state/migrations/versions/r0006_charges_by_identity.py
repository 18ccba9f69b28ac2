"""A charge is known by an id of its own everywhere, and counts for the people of one identity type."""

import hashlib
import itertools
import json

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Adds the columns; a charge takes the identity type of its data set, and counts for everybody where that is gone."""
    op.add_column("charges", sa.Column("identity_type", sa.String))
    op.add_column("charges", sa.Column("uid", sa.String))
    _name_charges(op.get_bind())
    op.execute(
        "UPDATE charges SET identity_type ="
        " (SELECT identity_type FROM datasets WHERE name = dataset AND datasets.population = charges.population)"
    )
    with op.batch_alter_table("charges") as table:
        table.alter_column("uid", nullable=False)
    op.create_index("charges_by_uid", "charges", ["uid"], unique=True)
    op.add_column("budgets", sa.Column("ceiling", sa.Float))


def _name_charges(connection: sa.Connection) -> None:
    """Gives each charge an id that every copy of the workspace derives alike: of its content and its journal entry's digest."""
    charges = connection.exec_driver_sql(
        "SELECT id, population, purpose, event, scope, created FROM charges ORDER BY id"
    ).all()
    entries = connection.exec_driver_sql("SELECT digest FROM journal WHERE kind = 'CHARGE' ORDER BY sequence").scalars()
    for charge, entry in itertools.zip_longest(charges, entries.all()[: len(charges)]):
        uid = hashlib.sha256(json.dumps([*charge, entry]).encode()).hexdigest()[:32]
        connection.execute(sa.text("UPDATE charges SET uid = :uid WHERE id = :id"), {"uid": uid, "id": charge.id})
