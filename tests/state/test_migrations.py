"""The migrations build the very tables that the code uses."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from workbench.state import create_database, open_database
from workbench.state.tables import metadata


def test_the_newest_revision_has_the_tables_of_the_code(tmp_path: Path) -> None:
    create_database(tmp_path / "state.db")
    with open_database(tmp_path / "state.db").connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
