"""Suppression lists: written by a workspace, and taken in by a copy of it that may be older.

What is taken in only adds: erased people are erased here too, charges that are unknown count here, and a hold on the budgets is
lifted where the list shows that no charge is missing.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from sqlalchemy import Connection, select

from workbench.data import catalog
from workbench.data.identity import suppression_token
from workbench.data.store import SPLITS
from workbench.erasure.free_text import refuse_names
from workbench.erasure.locate import Subject
from workbench.erasure.request import begin_at_once, submit_subjects
from workbench.erasure.suppression import Tokens, suppress
from workbench.erasure.suppression_list import ForeignList, current_list, read_list, write_list
from workbench.errors import HeldError, InputError, NotFoundError
from workbench.privacy import holds
from workbench.privacy.holds import Hold
from workbench.privacy.shared_ledger import Merged, merge_ledger
from workbench.progress import Progress, silent
from workbench.state import journal, writing
from workbench.state.atomic_files import check_output, write_atomic
from workbench.state.roles import allowed, internal
from workbench.state.tables import holds as holds_table
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.same_people import populations
from workbench.workflows.erasure.execute import Outcome, carry_out
from workbench.workflows.erasure.results import (
    BudgetStatement,
    ExportedSuppressions,
    HeldBudgets,
    ImportedSuppressions,
)
from workbench.workflows.erasure.signing_keys import settled


@allowed("administer")
def export_suppressions(workspace: Workspace, file: Path) -> ExportedSuppressions:
    """Write who was erased, or is about to be, and what was charged, to a signed JSON file of mode 0600; it names nobody."""
    check_output(file, (".json",))
    folder = settled(workspace)
    with workspace.engine.connect() as connection:
        mine = current_list(connection)
    write_atomic(file, write_list(workspace, folder, mine), mode=0o600)
    people = sum(map(len, mine.tokens.values()))
    return ExportedSuppressions(path=str(file), people=people, charges=len(mine.ledger.charges))


@allowed("administer")
def import_suppressions(workspace: Workspace, file: Path, *, progress: Progress = silent) -> ImportedSuppressions:
    """Take in a list of another copy of this workspace: its charges count here, and its erased people are erased here.

    A hold on the budgets is lifted where the list was written after the restore, by the workspace that was in use.
    Raises InputError for a file that is no list of this workspace's copies.
    """
    listed = read_list(workspace, settled(workspace), file)
    with writing(workspace.engine) as connection:
        merged, lifted = take_ledger(connection, listed)
        journal.append(connection, "LIST_TAKEN", charges=merged.charges, lifted=len(lifted))
        left = holds.unlifted(connection)
    found = erase_listed(workspace, listed.tokens, progress)
    return ImportedSuppressions(
        suppressed=found,
        charges=merged.charges,
        budgets=merged.budgets,
        lifted=bool(lifted),
        held=HeldBudgets.of(left),
    )


@internal
def take_ledger(connection: Connection, listed: ForeignList) -> tuple[Merged, list[Hold]]:
    """Merge the charges of another copy in the caller's write transaction; return what is new and the holds that it lifts."""
    merged = merge_ledger(connection, listed.ledger)
    lifted = []
    reach, here = listed.reach, holds.identities(connection)
    for row in connection.execute(select(holds_table)).all():
        hold = Hold(**row._mapping)
        if reach is None or not reach.shows_all(hold, here):
            continue
        if reach.read > hold.at:
            holds.lift(connection, hold)
            lifted.append(hold)
        else:
            holds.learn(connection, hold, reach.known)
    return merged, lifted


@allowed("administer")
def vouch(workspace: Workspace, population: str | None, reason: str) -> BudgetStatement:
    """State that nothing was charged to a population, or to any, after what is known here; its budget is free again.

    Raises InputError where no budget is held, or where the reason names a person.
    """
    if not reason.strip():
        raise InputError("a reason is needed: it is shown beside the budget and on cards", hint="--reason TEXT")
    refuse_names(workspace, reason, "the reason")
    with writing(workspace.engine) as connection:
        if population is not None and population not in (known := populations(connection)):
            raise NotFoundError(f"no population {population!r} in this workspace; it has {sorted(known) or 'none'}")
        made = holds.vouch(connection, population or holds.EVERYONE, reason.strip())
    return BudgetStatement(population=population, stated=tuple(one.text for one in made), reason=reason.strip())


@internal
def erase_listed(workspace: Workspace, tokens: Tokens, progress: Progress) -> int:
    """Erase everyone in the data whose suppression token is listed, whatever the policy says; return how many."""
    with writing(workspace.engine) as connection:
        suppress(connection, tokens, request="restore")
    people = _people(workspace, tokens)
    for subjects in people:
        receipt = submit_subjects(workspace, subjects)
        begin_at_once(workspace, receipt.duplicate_of or receipt.id)
    outcome = carry_out(workspace, progress, held="all")
    Outcome(done={}, failures=tuple(f for f in outcome.failures if not isinstance(f.fault, HeldError))).results()
    if left := _people(workspace, tokens):
        raise InputError(
            f"{len(left)} of {len(people)} people of the suppression list could not be erased",
            hint="workbench requests list says what they wait for",
        )
    return len(people)


def _people(workspace: Workspace, tokens: Tokens) -> list[list[Subject]]:
    """The subjects of each listed person in all data sets."""
    key = workspace.key("suppression")
    found: defaultdict[bytes, list[Subject]] = defaultdict(list)
    with workspace.engine.connect() as connection:
        for name in catalog.names(connection):
            store = catalog.store(connection, workspace, name)
            wanted = tokens.get(store.schema.identity_type, frozenset())
            for split in SPLITS if wanted else ():
                for token, point, slice_point in store.subjects(split):
                    if suppression_token(key, token) in wanted:
                        subject = Subject(
                            request="", dataset=name, token=token, point=point, slice_point=slice_point, split=split
                        )
                        found[token].append(subject)
    return list(found.values())
