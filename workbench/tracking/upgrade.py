"""Bringing a tracking store that an older MLflow wrote to the revision of this one."""

from __future__ import annotations

from typing import Any

from workbench.errors import InputError
from workbench.state import tell_faults, writing
from workbench.tracking.mlflow_store import Tracking


def upgrade(tracking: Tracking) -> tuple[str, str]:
    """Brings the store's database to the revision of this MLflow; returns the revision before and after.

    Wholly or not at all: MLflow's own command commits table by table, so its migrations are run here in one transaction.
    Raises InputError where a newer MLflow wrote it or it can't be upgraded, BusyError while another process writes to it.
    """
    tracking.require()
    from alembic.runtime.environment import EnvironmentContext
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError
    from mlflow.store.db.utils import _get_alembic_config
    from sqlalchemy import create_engine, event
    from sqlalchemy.exc import DatabaseError
    from sqlalchemy.pool import NullPool

    config = _get_alembic_config(tracking.uri)  # type: ignore[no-untyped-call]
    script = ScriptDirectory.from_config(config)
    engine = create_engine(tracking.uri, poolclass=NullPool, hide_parameters=True)
    event.listen(engine, "connect", _begin_explicitly)
    tell_faults(engine, tracking.database)
    try:
        with writing(engine) as connection:
            before = MigrationContext.configure(connection).get_current_revision()
            steps = EnvironmentContext(config, script, fn=lambda found, _: script._upgrade_revs("heads", found))
            with steps:
                steps.configure(connection=connection, render_as_batch=True)
                steps.run_migrations()
    except CommandError:  # it names a revision that is not among this MLflow's
        raise InputError(
            f"a newer MLflow wrote the tracking store {tracking.database}", hint="install the newer workbench"
        ) from None
    except DatabaseError:
        raise InputError(
            f"the tracking store {tracking.database} can't be upgraded, and stays as it was",
            hint="restore it from a backup, or move it away and let workbench migrate make an empty one",
        ) from None
    finally:
        engine.dispose()
    after = script.get_current_head()
    assert after is not None
    return str(before), after


def _begin_explicitly(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    # what a migration drops is overwritten; foreign keys stay unchecked, or a table made anew would empty those that name it
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA busy_timeout = 30000")
