"""Where each row is a subject, points are bound to the ingest that numbered the rows, so each ingest is a hash line."""

from alembic import op

revision = "0010"
down_revision = "0009"

_INGEST = (
    " FROM datasets WHERE name = dataset AND datasets.population = charges.population"
    " AND datasets.identity_type = charges.identity_type AND datasets.created <= charges.created"
)


def upgrade() -> None:
    """Adds the ingest to the line of such a charge; one of an unknown ingest counts for everybody from now on."""
    op.execute(
        "UPDATE charges SET identity_type = (SELECT CASE json_extract(schema, '$.subject')"
        f" WHEN 'row' THEN identity_type || '/' || ingest ELSE identity_type END{_INGEST})"
        " WHERE identity_type IS NOT NULL"
    )
