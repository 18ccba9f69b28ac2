"""What people write in their own words: it may name nobody, for it stays where the byte scan of an erasure looks."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from sqlalchemy import Connection, select

from workbench.data import catalog
from workbench.erasure.locate import SCANNABLE, locate
from workbench.errors import InputError
from workbench.schema.schema import ROW_SUBJECT
from workbench.state.tables import requests, statements
from workbench.workspace import Workspace

WITHHELD = "withheld: it named somebody who was erased"
_MOST = 1000  # characters
_LONGEST = 4  # words of an identifier


def refuse_names(workspace: Workspace, text: str, what: str) -> None:
    """Raises InputError where a text is too long, or holds the identifier of somebody who is in a data set."""
    if len(text) > _MOST:
        raise InputError(f"{what} has {len(text):,} characters; at most {_MOST:,} are kept", hint="shorten it")
    with workspace.engine.connect() as connection:
        entries = {name: catalog.entry(connection, name) for name in catalog.names(connection)}
    sets = [name for name, entry in entries.items() if entry.schema.subject != ROW_SUBJECT]
    parts = {part for part in _parts(text) if len(part) >= SCANNABLE}
    if locate(workspace, [(name, part) for name in sets for part in sorted(parts)]):
        raise InputError(
            f"{what} names somebody who is in the data, and would stay after their erasure",
            hint="say it without identifiers; a request is named by its id",
        )


def withhold_names(connection: Connection, needles: Collection[bytes]) -> None:
    """Takes back reasons that name one of these, inside the caller's write transaction."""
    for table in (requests, statements):
        for row in connection.execute(select(table.c.id, table.c.reason)).all():
            if row.reason and any(needle in row.reason.encode() for needle in needles):
                connection.execute(table.update().where(table.c.id == row.id).values(reason=WITHHELD))


def _parts(text: str) -> Iterator[str]:
    """The text, its words with and without punctuation around them, and up to four of them in a row."""
    yield text.strip()
    words = text.split()
    for bare in (words, [re.sub(r"^\W+|\W+$", "", word) for word in words]):
        for start in range(len(bare)):
            for end in range(start + 1, min(start + _LONGEST, len(bare)) + 1):
                yield " ".join(bare[start:end])
