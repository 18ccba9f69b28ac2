"""What a fit took depends on the rows: it leaves the lineage of generators, which leaves the workspace with releases."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Drop both figures; those of later fits are in their evaluations, which are internal and purged."""
    op.execute(
        "UPDATE artifacts SET body = json_remove(body, '$.seconds', '$.peak_mb') WHERE kind = 'generator'"
        " AND (json_type(body, '$.seconds') IS NOT NULL OR json_type(body, '$.peak_mb') IS NOT NULL)"
    )
