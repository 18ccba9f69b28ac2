"""Where a person is, by keyed hashes alone, and what of them a byte scan has to look for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

from sqlalchemy import Connection, select

from workbench.data import catalog
from workbench.data.identity import canonical, identify, row_identifier, suppression_token
from workbench.data.store import Split
from workbench.errors import DamagedError, MalformedKeyError
from workbench.schema.schema import ROW_SUBJECT
from workbench.state.tables import quarantine
from workbench.state.workspace import Workspace

# What the byte scan looks for must be long enough not to occur by chance
SCANNABLE = 8
NAMED = 5  # characters from which on an identifier that somebody writes is no other number
ROW_NUMBERS = "the number of a row: it was searched with the id of the ingest that numbered it, and the token"
VERY_SHORT = "an identifier of fewer than 5 characters: the token that stands for it was searched"
_ROW_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
Pair = tuple[str, str]  # a data set and a person's key in it
ERASED: Literal["erased"] = "erased"
Where = Split | Literal["erased"]  # `erased`: by another request, while this one waited


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A person in one data set, by keyed hashes only."""

    request: str
    dataset: str
    token: bytes
    point: int
    slice_point: int
    split: Where


@dataclass(frozen=True, kw_only=True)
class Located:
    """A person's places; the texts and tokens to search for; the keyed tokens by which they are recognised later.

    `short` are identifiers that are searched for as whole words in texts alone; `unsearched` says of which kind others are.
    `asked` are data sets and tokens, also those that the person was not found in.
    """

    subjects: tuple[Subject, ...]
    needles: frozenset[bytes]
    suppress: frozenset[tuple[str, bytes]]
    short: frozenset[bytes] = frozenset()
    unsearched: frozenset[str] = frozenset()
    asked: frozenset[tuple[str, bytes]] = frozenset()


NOWHERE = Located(subjects=(), needles=frozenset(), suppress=frozenset())


def locate(workspace: Workspace, identities: Sequence[Pair]) -> tuple[Subject, ...]:
    """Where a person is, by pairs of data set and key; empty for an unknown one. The request is still unnamed."""
    return find_person(workspace, identities).subjects


def find_person(workspace: Workspace, identities: Sequence[Pair]) -> Located:
    """Where a person is, with what else a request keeps of them; raises MalformedKeyError for a key that can be nobody's."""
    pairs = list(dict.fromkeys((name, canonical(key)) for name, key in identities))
    subjects: list[Subject] = []
    needles: set[bytes] = set()
    short: set[bytes] = set()
    unsearched: set[str] = set()
    suppress: set[tuple[str, bytes]] = set()
    asked: set[tuple[str, bytes]] = set()
    with workspace.engine.connect() as connection:
        for name, identifier in pairs:
            entry = catalog.entry(connection, name)
            kind, person = entry.schema.identity_type, identifier
            if entry.schema.subject == ROW_SUBJECT:
                if not _ROW_NUMBER.fullmatch(identifier):  # 007 may be someone's number, but not that of row 7
                    raise MalformedKeyError(
                        f"a key of data set {name} is a row number, counted from 0, without leading zeros",
                        hint="give a decimal number",
                    )
                person = row_identifier(entry.ingest, int(identifier))
                unsearched.add(ROW_NUMBERS)
            if len(person) >= SCANNABLE:
                needles.add(person.encode())
            elif len(person) >= NAMED:
                short.add(person.encode())
            else:
                unsearched.add(VERY_SHORT)
            ids = identify(
                [person],
                identity_type=kind,
                token_key=workspace.key("token"),
                placement_key=workspace.key("placement"),
            )
            token, point = ids.tokens[0], int(ids.points[0])
            asked.add((name, token))
            needles |= {token, token.hex().encode()}
            suppress.add((kind, suppression_token(workspace.key("suppression"), token)))
            splits = _splits(connection, workspace, name, token, point)
            splits = splits or _quarantined_splits(connection, name, token)
            subjects += [
                Subject(
                    request="",
                    dataset=name,
                    token=token,
                    point=point,
                    slice_point=int(ids.slice_points[0]),
                    split=split,
                )
                for split in splits
            ]
    return Located(
        subjects=tuple(subjects),
        needles=frozenset(needles),
        suppress=frozenset(suppress),
        short=frozenset(short),
        unsearched=frozenset(unsearched),
        asked=frozenset(asked),
    )


def _splits(connection: Connection, workspace: Workspace, dataset: str, token: bytes, point: int) -> tuple[Split, ...]:
    """The splits that hold a subject, looked up anew where an erasure replaced the bucket file under the reader."""
    store = catalog.store(connection, workspace, dataset)
    while True:
        try:
            return store.splits_of(token, point)
        except DamagedError:
            before, store = store, catalog.store(connection, workspace, dataset)
            if store.digests == before.digests:
                raise


def _quarantined_splits(connection: Connection, dataset: str, token: bytes) -> tuple[Split, ...]:
    chosen = (quarantine.c.dataset == dataset) & (quarantine.c.token == token) & (quarantine.c.split != ERASED)
    return cast(
        tuple[Split, ...], tuple(connection.execute(select(quarantine.c.split).where(chosen).distinct()).scalars())
    )
