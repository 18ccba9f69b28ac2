"""What people write in their own words: it may name nobody, for it stays where the byte scan of an erasure looks.

Who is in the data already is refused at entry. Whoever comes into the data later under a name that was written before is
taken out of it before the byte scan, wherever that can be changed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import PurePath
from typing import Any

from sqlalchemy import Column, Connection, Table

from workbench.bytescan.archives import Search
from workbench.bytescan.folders import words
from workbench.data import catalog
from workbench.data.identity import canonical, identify
from workbench.data.store import Store
from workbench.erasure.locate import NAMED
from workbench.errors import DamagedError, InputError, NamingError
from workbench.jobs.job import abandon, find
from workbench.schema.schema import ROW_SUBJECT
from workbench.state import journal, lineage, roles
from workbench.state.atomic_files import write_atomic
from workbench.state.tables import actors, charges, jobs, requests, statements, tokens
from workbench.state.workspace import Workspace

NAMES_SOMEBODY = "names somebody who is in the data, and would stay after their erasure"
WITHHELD = "withheld: it named somebody who was erased"
_MOST = 1000  # characters
_LONGEST = 4  # words of an identifier
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DIGEST = re.compile(r"[0-9a-f]{32,}(\.\w+)?")
_PIECES = 9  # of an identifier such as a UUID or an e-mail address, with what is between them


def refuse_names(workspace: Workspace, text: str, what: str) -> None:
    """Raises InputError where a text is too long, or holds the identifier of somebody who is in a data set."""
    if len(text) > _MOST:
        raise InputError(f"{what} has {len(text):,} characters; at most {_MOST:,} are kept", hint="shorten it")
    if _names_anybody(workspace, text):
        raise NamingError(
            f"{what} {NAMES_SOMEBODY}",
            hint="say it without identifiers; a request is named by its id",
        )


def refuse_name_in_id(workspace: Workspace, request_id: str, keys: Collection[str]) -> None:
    """Raises InputError where a request's id names its person, or anybody else in the data; it stays in the journal."""
    what = "the request id"
    refuse_own_names([canonical(key).encode() for key in keys if len(canonical(key)) >= NAMED], request_id, what)
    is_uuid = _UUID.fullmatch(request_id) is not None
    # of a random id only the whole, or a number in it, is anybody's identifier: each part is looked for in a bucket file
    text = " ".join([request_id, *re.findall(r"\d{8,}", request_id)]) if is_uuid else request_id
    if _names_anybody(workspace, text, words_alone=is_uuid):
        raise NamingError(
            f"{what} {NAMES_SOMEBODY}",
            hint="send the request with another id, such as a random UUID",
        )


def refuse_own_names(needles: Collection[bytes], text: str, what: str) -> None:
    """Raises InputError where a text names the person of these needles, as the byte scan would find them."""
    if _search(needles).find(text.encode(errors="surrogatepass")):
        raise NamingError(
            f"{what} names the person of the request, and would stay after their erasure",
            hint="say it without identifiers",
        )


def refuse_file(workspace: Workspace, file: str) -> None:
    """Raise NamingError where the name of a file in the workspace names a person who is in the data."""
    if is_named_in(workspace, file):
        raise NamingError(
            f"the name of the file {NAMES_SOMEBODY}",
            hint="rename or remove the file; workbench resume then scans again",
        )


def is_named_in(workspace: Workspace, file: str) -> bool:
    """Return whether the name of a file names a person who is in the data; digests and random endings of ids do not."""
    with workspace.engine.connect() as connection:
        ids = {artifact.id for artifact in lineage.find(connection)}
    parts = [part for part in PurePath(file).parts if PurePath(part).stem not in ids and not _DIGEST.fullmatch(part)]
    return _names_anybody(workspace, "/".join(parts).encode(errors="surrogateescape").decode(errors="replace"))


def shown_file(workspace: Workspace, file: str) -> str:
    """Return the name of a file, or where it names a person who came into the data since, what folder it is in."""
    if not is_named_in(workspace, file):
        return file
    folder = file.partition("/")[0]
    return "a file" if folder == file or is_named_in(workspace, folder) else f"a file below {folder}"


def refuse_table_of(workspace: Workspace, store: Store, names: Collection[str]) -> None:
    """Raises InputError where one of the names that a table comes in under is the identifier of a person in it."""
    if store.schema.subject != ROW_SUBJECT and any(_holds(workspace, store, _parts(name)) for name in names):
        raise NamingError(
            "the table comes in under a name that is a person's in it, and would stay after their erasure",
            hint="give the data set, its population and its identity type other names",
        )


def withhold_names(workspace: Workspace, connection: Connection, needles: Collection[bytes]) -> None:
    """Takes out free texts and names of actors that name one of these, inside the caller's write transaction.

    An actor keeps a reference, by which they are recognised. A job that is over or at work loses its config by itself; one
    that waits is ended, but not for the name of a data set or the id of a request: its work needs these.
    """
    search = _search(needles)

    def named(text: Any) -> bool:
        return isinstance(text, str) and search.find(text.encode(errors="surrogatepass"))

    for table in (requests, statements):
        for row, reason in connection.execute(table.select().with_only_columns(table.c.id, table.c.reason)).all():
            if named(reason):
                connection.execute(table.update().where(table.c.id == row).values(reason=WITHHELD))
    for (name,) in connection.execute(actors.select().with_only_columns(actors.c.name)).all():
        if named(name):
            journal.withhold(connection, name)
    for table, column, prefix in _ACTORS:
        for (name,) in connection.execute(table.select().with_only_columns(column).distinct()).all():
            if named(name):
                ref = journal.withhold(connection, prefix + name)
                connection.execute(table.update().where(column == name).values({column.name: ref}))
    for export in lineage.find(connection, kind="export"):
        if named(export.body.get("recipient")):
            lineage.amend(connection, export.id, recipient=WITHHELD)
    needed = {
        *catalog.names(connection),
        *connection.execute(requests.select().with_only_columns(requests.c.id)).scalars(),
    }
    for job in find(connection):
        if any(named(text) for text in _texts(job.config) if text not in needed):
            abandon(connection, job)
    _key_addresses(workspace, search)


_ACTORS: tuple[tuple[Table, Column[Any], str], ...] = (
    (requests, requests.c.actor, ""),
    (statements, statements.c.actor, ""),
    (charges, charges.c.actor, ""),
    (jobs, jobs.c.actor, ""),
    (tokens, tokens.c.name, "api:"),
)


def _key_addresses(workspace: Workspace, search: Search) -> None:
    """Puts what stands for it in the place of an e-mail address in `roles.yaml` that is sought."""
    path = workspace.root / roles.ROLES_FILE
    with suppress(InputError):  # one that can't be read gives nobody a role; the scan tells what is in it
        for address in roles.read_roles(workspace.root).emails:
            if search.find(address.encode(errors="surrogatepass")):
                text = path.read_text(encoding="utf-8-sig").replace(
                    address, roles.keyed(workspace.key("token"), address)
                )
                write_atomic(path, text.encode(), mode=path.stat().st_mode & 0o777)


def _texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _search(needles: Collection[bytes]) -> Search:
    return Search({spelling: width for needle in needles for spelling, width in words(needle).items()})


def _names_anybody(workspace: Workspace, text: str, *, words_alone: bool = False) -> bool:
    """Whether a text holds the identifier of somebody in a data set; a damaged data set can't be asked, and hinders nobody."""
    with workspace.engine.connect() as connection:
        stores = [catalog.store(connection, workspace, name) for name in catalog.names(connection)]
    for store in stores:
        with suppress(DamagedError):
            parts = text.split() if words_alone else _parts(text)
            if store.schema.subject != ROW_SUBJECT and _holds(workspace, store, parts):
                return True
    return False


def parts_of(text: str) -> set[str]:
    """What in a text may be an identifier that a byte scan looks for."""
    return {canonical(part) for part in _parts(text) if len(canonical(part)) >= NAMED}


def _holds(workspace: Workspace, store: Store, texts: Iterable[str]) -> bool:
    """Whether a store has records of anybody whose identifier is among the texts."""
    parts = sorted({canonical(text) for text in texts if len(canonical(text)) >= NAMED})
    ids = identify(
        parts,
        identity_type=store.schema.identity_type,
        token_key=workspace.key("token"),
        placement_key=workspace.key("placement"),
    )
    return store.holds_any(zip(ids.tokens, map(int, ids.points), strict=True))


def _parts(text: str) -> Iterator[str]:
    """What of a text may be an identifier: all of it, up to four words in a row with and without punctuation around them,
    pieces of such words in a row, and its numbers."""
    yield text
    words = text.split()
    for bare in (words, [re.sub(r"^\W+|\W+$", "", word) for word in words]):
        for start in range(len(bare)):
            for end in range(start + 1, min(start + _LONGEST, len(bare)) + 1):
                yield " ".join(bare[start:end])
    pieces = re.findall(r"[^\W_]+|[\W_]", text)
    edges = [number for number, piece in enumerate(pieces) if piece.isalnum()]
    for start in edges:
        yield from ("".join(pieces[start : end + 1]) for end in edges if start <= end < start + _PIECES)
    yield from re.findall(r"\d+", text)
