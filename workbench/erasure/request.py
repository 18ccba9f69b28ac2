"""Erasure requests: who is to be forgotten where, accepted and quarantined in one durable write."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection, select

from workbench import journal
from workbench.data import catalog
from workbench.data.identity import canonical, identify, row_identifier
from workbench.data.partition import Partition
from workbench.data.store import SPLITS, Split
from workbench.errors import InputError, NotFoundError
from workbench.schema.schema import ROW_SUBJECT
from workbench.state import writing
from workbench.state.tables import quarantine, requests
from workbench.workspace import Workspace

# What the byte scan looks for must be long enough not to occur by chance
_SCANNABLE = 8


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A person in one data set, by keyed hashes only."""

    request: str
    dataset: str
    token: bytes
    point: int
    slice_point: int
    split: Split


@dataclass(frozen=True, kw_only=True)
class ErasureRequest:
    """An accepted request. `nonce` opens the commitment and goes to the requester alone; it is stored nowhere."""

    id: str
    commitment: str
    nonce: str
    subjects: tuple[Subject, ...]
    needles: tuple[bytes, ...]


def locate(workspace: Workspace, datasets: Sequence[str], key: str) -> tuple[list[Subject], tuple[bytes, ...]]:
    """Where the person of that key is in those data sets (request still unnamed), and the bytes a scan must not find."""
    subjects, needles = [], {canonical(key).encode()} if len(canonical(key)) >= _SCANNABLE else set()
    with workspace.engine.connect() as connection:
        for name in datasets:
            entry = catalog.entry(connection, name)
            identifier = canonical(key)
            if entry.schema.subject == ROW_SUBJECT:
                if not (identifier.isascii() and identifier.isdecimal() and len(identifier) < 20):
                    raise InputError(
                        f"a key of data set {name} is a row number, counted from 0", hint="give a decimal number"
                    )
                identifier = row_identifier(entry.ingest, int(identifier))
            identities = identify(
                [identifier],
                identity_type=entry.schema.identity_type,
                token_key=workspace.key("token"),
                placement_key=workspace.key("placement"),
            )
            token, point = identities.tokens[0], int(identities.points[0])
            slice_point = int(identities.slice_points[0])
            needles |= {token, token.hex().encode()}
            # a person whose rows an interrupted erasure has dropped already is still quarantined
            splits = catalog.store(connection, workspace, name).splits_of(token, point) or _quarantined(
                connection, name, token
            )
            subjects += [
                Subject(request="", dataset=name, token=token, point=point, slice_point=slice_point, split=split)
                for split in splits
            ]
    return subjects, tuple(needles)


def submit(workspace: Workspace, datasets: Sequence[str], key: str) -> ErasureRequest:
    """Accepts a request and quarantines the subject in the same transaction; raises NotFoundError for an unknown subject.

    A subject whose earlier request was interrupted keeps that request's id: asking again resumes it.
    """
    found, needles = locate(workspace, datasets, key)
    if not found:
        raise NotFoundError(
            f"nothing found of this subject in {', '.join(datasets)}: unknown, or erased before",
            hint="check the key and its data set",
        )
    nonce = secrets.token_bytes(16)
    commitment = hashlib.sha256(nonce + canonical(key).encode()).hexdigest()
    with writing(workspace.engine) as connection:
        request = _open_request(connection, found) or f"er-{secrets.token_hex(6)}"
        subjects = tuple(Subject(**subject.__dict__ | {"request": request}) for subject in found)
        identity_type = catalog.entry(connection, subjects[0].dataset).schema.identity_type
        connection.execute(requests.delete().where(requests.c.id == request))
        connection.execute(
            requests.insert().values(
                id=request,
                status="quarantined",
                identity_type=identity_type,
                commitment=commitment,
                received=journal.now(),
            )
        )
        connection.execute(quarantine.delete().where(quarantine.c.request == request))
        for subject in subjects:
            places = {"point": str(subject.point), "slice_point": str(subject.slice_point)}
            connection.execute(quarantine.insert().values(**subject.__dict__ | places))
        journal.append(connection, "RECEIVED", request=request, commitment=commitment)
        journal.append(connection, "QUARANTINED", request=request, datasets=sorted({s.dataset for s in subjects}))
    return ErasureRequest(id=request, commitment=commitment, nonce=nonce.hex(), subjects=subjects, needles=needles)


def quarantined_shards(connection: Connection, dataset: str, partition: Partition) -> frozenset[int]:
    """The shards of a partition that hold a training subject with an open request."""
    rows = connection.execute(
        select(quarantine.c.point).where(quarantine.c.dataset == dataset, quarantine.c.split == SPLITS[0])
    )
    points = np.array([int(point) for point in rows.scalars()], dtype=np.uint64)
    return frozenset(int(shard) for shard in partition.shard_of(points))


def has_open_request(connection: Connection, dataset: str) -> bool:
    """Whether any subject of the data set waits for its erasure to finish."""
    return (
        connection.execute(select(quarantine.c.request).where(quarantine.c.dataset == dataset).limit(1)).first()
        is not None
    )


def lift(connection: Connection, dataset: str, request_ids: Collection[str]) -> None:
    """Ends the quarantine of those requests in one data set, in the caller's write transaction."""
    chosen = quarantine.c.request.in_(request_ids) & (quarantine.c.dataset == dataset)
    connection.execute(quarantine.delete().where(chosen))


def _quarantined(connection: Connection, dataset: str, token: bytes) -> tuple[Split, ...]:
    chosen = (quarantine.c.dataset == dataset) & (quarantine.c.token == token)
    return tuple(connection.execute(select(quarantine.c.split).where(chosen)).scalars())


def _open_request(connection: Connection, subjects: Sequence[Subject]) -> str | None:
    for subject in subjects:
        chosen = (quarantine.c.dataset == subject.dataset) & (quarantine.c.token == subject.token)
        request = connection.execute(select(quarantine.c.request).where(chosen)).scalar()
        if request is not None:
            return str(request)
    return None
