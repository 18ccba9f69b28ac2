"""Proposing a schema for a table, for a person to review."""

from __future__ import annotations

from pathlib import Path

from workbench.data.reader import estimate_rows, header_of, read_chunks, require_table
from workbench.errors import BudgetError, InputError
from workbench.progress import Progress, silent, watched
from workbench.schema import Schema
from workbench.schema.infer import annotate, annotate_private, check_names, infer_schema
from workbench.state.atomic_files import check_output, write_atomic
from workbench.state.roles import allowed
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.results import GuessedSchema, PrivateSchema
from workbench.workflows.datasets.same_people import refuse_other_case
from workbench.workflows.outputs import reserved


@allowed("operate")
def propose_schema(
    file: Path, out: Path, *, target: str | None = None, subject: str | None = None, progress: Progress = silent
) -> GuessedSchema:
    """Writes a draft schema whose every domain was guessed from the data and is marked unreviewed."""
    _check_out(out)
    chunks = watched(read_chunks(file), estimate_rows(file), progress)
    schema = infer_schema(chunks, target=target, subject=subject)
    write_atomic(out, annotate(schema).encode())
    return GuessedSchema(
        schema=out, columns=len(schema.columns), unreviewed=schema.unreviewed, dropped=_dropped(schema)
    )


@allowed("operate")
def propose_schema_privately(
    workspace: Workspace,
    file: Path,
    out: Path,
    *,
    population: str,
    epsilon: float,
    delta: float,
    target: str | None = None,
    subject: str | None = None,
    max_rows_per_subject: int = 1,
    progress: Progress = silent,
) -> PrivateSchema:
    """Writes a draft schema that is differentially private; raises BudgetError, with the file unopened, where it can't pay.

    What is known without a row is checked before the charge: the place of the draft, and the names of the columns, which are
    public. The charge stands whatever comes of the rows.
    """
    from workbench.privacy.ledger import Ledger
    from workbench.privacy.schema_search import SchemaSearch

    _check_out(out)
    require_table(file)
    if subject is None and max_rows_per_subject != 1:
        raise InputError("where each row is a person, a person has one row", hint="--subject COLUMN")
    search = SchemaSearch(epsilon=epsilon, delta=delta, max_rows_per_subject=max_rows_per_subject)
    ledger = Ledger(workspace.engine)
    with workspace.engine.connect() as connection:
        refuse_other_case(connection, population)
    if ledger.budget(population) is None:
        raise BudgetError(
            f"population {population!r} has no privacy budget, so nothing private may be read",
            hint="workbench ledger budget --population NAME --epsilon E --delta D",
        )
    with reserved(workspace, out) as place:
        if ledger.admits(population, [search.event]) and (names := header_of(file)) is not None:
            check_names(names, target, subject)
        ledger.charge(population, search.event, dataset="", purpose="a private search for a schema")
        chunks = watched(read_chunks(file, may_be_empty=True), estimate_rows(file), progress)
        schema = search.find(chunks, population=population, target=target, subject=subject)
        place(annotate_private(schema, epsilon=epsilon, delta=delta).encode())
    return PrivateSchema(
        schema=out,
        columns=len(schema.columns),
        unreviewed=schema.unreviewed,
        dropped=_dropped(schema),
        population=population,
        epsilon=epsilon,
        delta=delta,
    )


def _check_out(out: Path) -> None:
    if out.exists():
        raise InputError(f"{out} exists already; a reviewed schema is not overwritten", hint="name a new file")
    check_output(out, None)


def _dropped(schema: Schema) -> tuple[str, ...]:
    return tuple(column for column, c in schema.columns.items() if c.role == "drop")
