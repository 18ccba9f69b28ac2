"""Erasure requests: who is to be forgotten where, accepted and quarantined in one durable write.

received -> quarantined -> planned -> executing -> verifying -> completed; or rejected, denied, cancelled, failed (resumable).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select

from workbench.data import catalog
from workbench.data.identity import Points, canonical
from workbench.data.partition import Partition
from workbench.data.store import SPLITS
from workbench.erasure import saga, vault
from workbench.erasure.free_text import refuse_name_in_id
from workbench.erasure.limits import crowded, policies_of, window_end
from workbench.erasure.locate import ERASED, NOWHERE, Located, Pair, Subject, Where, find_person
from workbench.erasure.policy import ErasurePolicy
from workbench.errors import (
    BusyError,
    DecidedError,
    ForbiddenError,
    InputError,
    KnownRequestError,
    MalformedKeyError,
    NotFoundError,
    QuarantinedError,
)
from workbench.state import journal, writing
from workbench.state.lineage import Artifact
from workbench.state.tables import quarantine, requests
from workbench.state.workspace import Workspace, check_name

# What may still be stopped, and what is waiting to be carried out
_WAITING = "quarantined"
OPEN = ("quarantined", "planned", "executing", "verifying", "failed")


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What the requester is told: `nonce` opens the commitment; it is handed out once and stored nowhere.

    `certificate` is the path relative to the workspace, once the request is completed. `duplicate_of` names an open request of
    the same controller; a request for a person who is under another controller's joins that one's erasure and says nothing of
    it.
    """

    id: str
    status: str
    commitment: str
    due: str
    nonce: str | None = None
    reason: str | None = None
    duplicate_of: str | None = None
    malformed: bool = False
    certificate: str | None = None


def submit(workspace: Workspace, datasets: Sequence[str], key: str, *, request_id: str | None = None) -> Receipt:
    """The request of one person who has the same key in every one of those data sets; see `submit_person`."""
    return submit_person(workspace, [(name, key) for name in datasets], request_id=request_id)


def submit_person(
    workspace: Workspace,
    identities: Sequence[Pair],
    *,
    request_id: str | None = None,
    is_random_id: bool = False,
    nonce: bytes | None = None,
    controller: str | None = None,
    beside: Callable[[Connection, Receipt], None] | None = None,
) -> Receipt:
    """Accepts a person's request, by pairs of data set and key, and quarantines them in the same transaction, or says why not.

    `controller` is the party that asks, where that is not the one who acts, as for the sender of a file in an inbox.

    - Idempotent: the same controller with the same id, key and nonce changes nothing and gets the answer of today, as an
      intake does that was cut off before it could write the receipt. Any other use of a known id raises KnownRequestError.
    - An unknown subject is `rejected`, never "erased"; so is one whom one open request of the same controller covers wholly.
    - Requests of several controllers for one person stand side by side: each has its own share of the quarantine, which its
      own withdrawal lifts, and one erasure carries them out together.
    - Raises NamingError for a new request id that names the person or somebody else in the data, unless it was made here
      (`is_random_id`).
    - `beside` is called in the same transaction, for a request that is new: what it writes is there with it or not at all.
    """
    if request_id is not None and not is_random_id and not _is_known(workspace, request_id):
        refuse_name_in_id(workspace, request_id, [key for _, key in identities])
    try:
        found, malformed = find_person(workspace, identities), None
    except MalformedKeyError as fault:
        found, malformed = NOWHERE, str(fault)
    return _accept(
        workspace,
        identities,
        found,
        malformed=malformed,
        request_id=request_id,
        nonce=nonce,
        controller=controller,
        beside=beside,
    )


def submit_subjects(workspace: Workspace, subjects: Sequence[Subject]) -> Receipt:
    """The request of one person who is known by the token alone, as in a backup that is restored; see `submit_person`.

    The commitment is to the token. Their suppression tokens are the caller's to keep.
    """
    tokens = {subject.token for subject in subjects}
    needles = frozenset(tokens | {token.hex().encode() for token in tokens})
    by_token = frozenset(["the identifier: the person is known by their token alone, which was searched"])
    found = Located(subjects=tuple(subjects), needles=needles, suppress=frozenset(), unsearched=by_token)
    return _accept(workspace, [(subject.dataset, subject.token.hex()) for subject in subjects], found)


@dataclass(frozen=True, kw_only=True)
class _Submission:
    """One person's request as it was handed in, and where the person was found."""

    request: str
    identities: Sequence[Pair]
    found: Located
    nonce: bytes
    malformed: str | None
    controller: str | None

    @property
    def asker(self) -> str:
        """The party that asks: the controller where one is named, else the person or system that acts."""
        return self.controller or journal.actor()

    @property
    def datasets(self) -> list[str]:
        """The data sets that the request names."""
        return sorted({name for name, _ in self.identities})

    @property
    def commitment(self) -> str:
        """What the requester can open with the nonce and the key."""
        return commit_to(self.nonce, [key for _, key in self.identities])


@dataclass(frozen=True, kw_only=True)
class _Decision:
    """What becomes of a new request: the person as they will be quarantined, or why it is rejected."""

    found: Located
    rejected: str | None
    duplicate_of: str | None
    crowd: str | None
    policies: Mapping[str, ErasurePolicy]

    @property
    def must_wait(self) -> bool:
        """Whether a person must approve the request before it is carried out."""
        required = any(policy.approval == "required" for policy in self.policies.values())
        return self.rejected is None and (required or self.crowd is not None)


def _accept(
    workspace: Workspace,
    identities: Sequence[Pair],
    found: Located,
    *,
    malformed: str | None = None,
    request_id: str | None = None,
    nonce: bytes | None = None,
    controller: str | None = None,
    beside: Callable[[Connection, Receipt], None] | None = None,
) -> Receipt:
    """Answer a known request as before; else decide on it, record it and quarantine its person, in one transaction."""
    asked = _Submission(
        request=check_name(request_id or f"er-{secrets.token_hex(6)}", "request id"),
        identities=identities,
        found=found,
        nonce=nonce or secrets.token_bytes(16),
        malformed=malformed,
        controller=controller,
    )
    with writing(workspace.engine) as connection:
        known = connection.execute(select(requests).where(requests.c.id == asked.request)).one_or_none()
        if known is not None:
            _refuse_other_use(connection, known, asked.asker, asked.commitment)
            return _receipt(known, nonce=None if known.status == "rejected" else asked.nonce.hex())
        decision = _decide(connection, asked)
        receipt = _record(connection, asked, decision)
        if beside:
            beside(connection, receipt)
    return receipt


def _decide(connection: Connection, asked: _Submission) -> _Decision:
    """Reject what is malformed, unknown or a duplicate; else say how many others wait beside it."""
    policies = policies_of(connection, asked.datasets)
    found = asked.found
    under_way = {} if found.subjects else _under_way(connection, found)
    if under_way:
        found = replace(found, subjects=tuple(set().union(*under_way.values())))
    duplicate = _open_request(connection, found, asked.asker, under_way)
    rejected = f"duplicate of the open request {duplicate}" if duplicate else None
    if asked.malformed:
        rejected = asked.malformed
    elif not found.subjects:
        rejected = f"nothing found of this subject in {', '.join(asked.datasets)}: unknown, or erased before"
    concerned = {subject.dataset: policies[subject.dataset] for subject in found.subjects}
    return _Decision(
        found=found,
        rejected=rejected,
        duplicate_of=duplicate,
        crowd=None if rejected else crowded(connection, concerned),
        policies=policies,
    )


def _record(connection: Connection, asked: _Submission, decision: _Decision) -> Receipt:
    """Write the request's row and journal entries, and quarantine its person unless it is rejected."""
    policies, rejected = decision.policies.values(), decision.rejected
    due = _due(min(policy.due_days for policy in policies))
    types = {catalog.entry(connection, name).schema.identity_type for name in asked.datasets}
    row = {
        "id": asked.request,
        "status": "rejected" if rejected else _WAITING,
        "identity_type": ",".join(sorted(types)),
        "commitment": asked.commitment,
        "received": journal.now(),
        "datasets": sorted({subject.dataset for subject in decision.found.subjects}),
        "due": due,
        "actor": journal.actor(),
        "approval": "waiting" if decision.must_wait else "none",
        "reason": rejected or decision.crowd,
        "not_before": None if rejected else window_end(policies, due),
        "controller": asked.controller,
    }
    connection.execute(requests.insert().values(**row))
    journal.append(connection, "RECEIVED", request=asked.request, commitment=asked.commitment)
    if rejected:
        journal.append(connection, "REJECTED", request=asked.request)
    else:
        keeps = all(policy.suppression for policy in policies)
        _quarantine(connection, asked.request, decision.found, keeps=keeps)
    stored = connection.execute(select(requests).where(requests.c.id == asked.request)).one()
    return replace(
        _receipt(stored, nonce=None if rejected else asked.nonce.hex()),
        duplicate_of=decision.duplicate_of,
        malformed=asked.malformed is not None,
    )


def _refuse_other_use(connection: Connection, known: Any, controller: str, commitment: str) -> None:
    """Raises KnownRequestError where a known request is another controller's, or this nonce and key do not open it."""
    is_theirs = journal.is_actor(connection, known.controller or known.actor, controller)
    if not is_theirs or not hmac.compare_digest(known.commitment, commitment):
        raise known_request()


def known_request() -> KnownRequestError:
    """Return what is said of a request id that was used before; it shows nothing of that request."""
    return KnownRequestError(
        "the request id was used before; nothing was accepted",
        hint="ask for the status of that request if it is yours, or send this one with a new id",
    )


def commit_to(nonce: bytes, keys: Collection[str]) -> str:
    """SHA-256 of the nonce and the identifier; several identifiers are sorted and joined by line feeds."""
    return hashlib.sha256(nonce + "\n".join(sorted(set(map(canonical, keys)))).encode()).hexdigest()


def approve(workspace: Workspace, request: str) -> None:
    """Lets a request that waits for approval be carried out; raises ForbiddenError where its policy wants other eyes."""
    with writing(workspace.engine) as connection:
        row = _get(connection, request)
        if row.status != _WAITING or row.approval != "waiting":
            raise InputError(f"request {request} does not wait for approval: it is {row.status}")
        policies = policies_of(connection, row.datasets).values()
        refuse_own(connection, row, "approve it")
        # A window again, or whoever is approved alone would be alone in what the next version changes
        end = window_end(policies, row.due)
        values = {"approval": "given", "reason": None, "not_before": end}
        connection.execute(requests.update().where(requests.c.id == request).values(**values))
        journal.append(connection, "APPROVED", request=request)


def refuse_own(connection: Connection, row: Any, what: str) -> None:
    """Raises ForbiddenError where the policy wants four eyes, and whoever acts handed the request in."""
    policies = policies_of(connection, row.datasets).values()
    if any(policy.four_eyes for policy in policies) and journal.is_actor(connection, row.actor):
        raise ForbiddenError(
            f"request {row.id} needs four eyes: whoever handed it in may not {what}",
            hint=f"ask somebody else to {what}",
        )


def expedite(workspace: Workspace, request: str) -> None:
    """Let a request be carried out before its window ends; an approval that it waits for is still waited for."""
    with writing(workspace.engine) as connection:
        row = _get(connection, request)
        if row.status != _WAITING or row.not_before is None:
            raise InputError(f"request {request} does not wait for a window to end: it is {row.status}")
        connection.execute(requests.update().where(requests.c.id == request).values(not_before=None))
        journal.append(connection, "EXPEDITED", request=request)


def begin_at_once(workspace: Workspace, request: str) -> None:
    """Approve a waiting request and end its window, against its policy, as a restore must."""
    with writing(workspace.engine) as connection:
        chosen = (requests.c.id == request) & (requests.c.status == _WAITING)
        values = {"approval": "given", "not_before": None, "reason": None}
        if connection.execute(requests.update().where(chosen).values(**values)).rowcount:
            journal.append(connection, "APPROVED", request=request)


def withdraw(workspace: Workspace, request: str, *, status: str, reason: str) -> None:
    """Denies or cancels a request that was not begun: its quarantine is lifted and what it knew is destroyed."""
    with writing(workspace.engine) as connection:
        row = _get(connection, request)
        if row.status != _WAITING:
            raise DecidedError(f"request {request} can't be {status} any more: it is {row.status}")
        connection.execute(quarantine.delete().where(quarantine.c.request == request))
        vault.destroy(connection, [request])
        values = {"status": status, "reason": reason, "completed": journal.now()}
        connection.execute(requests.update().where(requests.c.id == request).values(**values))
        journal.append(connection, status.upper(), request=request)


def waiting(connection: Connection) -> list[str]:
    """Requests that may be carried out now, oldest first.

    One that was received later than it is now has seen the clock set back; it does not wait for its window as well.
    """
    now = journal.now()
    over = requests.c.not_before.is_(None) | (requests.c.not_before <= now) | (requests.c.received > now)
    ready = (requests.c.status == _WAITING) & (requests.c.approval != "waiting") & over
    return list(connection.execute(select(requests.c.id).where(ready).order_by(requests.c.received)).scalars())


def subjects_of(connection: Connection, request_ids: Collection[str]) -> list[Subject]:
    """The quarantined subjects of requests."""
    rows = connection.execute(select(quarantine).where(quarantine.c.request.in_(request_ids)))
    return [
        Subject(
            request=row.request,
            dataset=row.dataset,
            token=row.token,
            point=int(row.point),
            slice_point=int(row.slice_point),
            split=_where(row.split),
        )
        for row in rows
    ]


def advance(connection: Connection, request_ids: Collection[str], status: str, reason: str | None = None) -> None:
    """Sets the status of requests, in the caller's write transaction."""
    connection.execute(requests.update().where(requests.c.id.in_(request_ids)).values(status=status, reason=reason))
    journal.append_each(connection, status.upper(), [{"request": request} for request in sorted(request_ids)])


def quarantined_shards(connection: Connection, dataset: str, partition: Partition) -> frozenset[int]:
    """The shards of a partition that hold a training subject with an open request."""
    return frozenset(int(shard) for shard in partition.shard_of(quarantined_points(connection, dataset)))


def quarantined_points(connection: Connection, dataset: str) -> Points:
    """The shard points of training subjects with an open request."""
    chosen = (quarantine.c.dataset == dataset) & (quarantine.c.split == SPLITS[0])
    points = connection.execute(select(quarantine.c.point).where(chosen)).scalars()
    return np.array([int(point) for point in points], dtype=np.uint64)


def count_open(connection: Connection) -> int:
    """How many requests are open."""
    chosen = select(func.count()).select_from(requests).where(requests.c.status.in_(OPEN))
    return int(connection.execute(chosen).scalar_one())


def has_open_request(connection: Connection, dataset: str) -> bool:
    """Whether any subject of the data set waits for its erasure to finish."""
    chosen = select(quarantine.c.request).where(quarantine.c.dataset == dataset).limit(1)
    return connection.execute(chosen).first() is not None


def refuse_open_request(connection: Connection, dataset: str, refused: str) -> None:
    """Raises BusyError, saying what is refused, where a subject of the data set waits for its erasure to finish."""
    if has_open_request(connection, dataset):
        raise BusyError(
            f"a subject of data set {dataset} has an open erasure request; {refused} before it is finished",
            hint="workbench resume, or decide on it: workbench requests list",
        )


def refuse_quarantined(connection: Connection, made: Artifact) -> None:
    """Raises QuarantinedError where a generator or release is not private and someone it was fitted to waits for erasure."""
    trained = (quarantine.c.dataset == made.dataset) & (quarantine.c.split == SPLITS[0])
    if not made.body["private"] and connection.execute(select(quarantine.c.request).where(trained)).first() is not None:
        raise QuarantinedError(
            f"{made.id} is not private, and a person it was fitted to has an open erasure request",
            hint="finish the open erasure requests: workbench resume, workbench requests list",
        )


def lift(connection: Connection, dataset: str, request_ids: Collection[str]) -> None:
    """Ends the quarantine of those requests in one data set, in the caller's write transaction.

    A request that came while the erasure was under way keeps its share, marked as one of a person who is erased already.
    """
    mine = quarantine.c.request.in_(request_ids) & (quarantine.c.dataset == dataset)
    tokens = list(connection.execute(select(quarantine.c.token).where(mine)).scalars())
    connection.execute(quarantine.delete().where(mine))
    others = (quarantine.c.dataset == dataset) & quarantine.c.token.in_(tokens)
    connection.execute(quarantine.update().where(others).values(split=ERASED))


def joined(connection: Connection, subjects: Sequence[Subject]) -> list[Subject]:
    """Return the subjects of other requests that were not begun and that ask for no more than the erasure of these.

    They need no approval of their own and no window: these people are erased. In the caller's write transaction.
    """
    begun = {subject.request for subject in subjects}
    covered = {(subject.dataset, subject.token) for subject in subjects}
    tokens = {subject.token for subject in subjects}
    chosen = (requests.c.status == _WAITING) & quarantine.c.token.in_(tokens) & quarantine.c.request.not_in(begun)
    same = select(quarantine.c.request).join(requests, requests.c.id == quarantine.c.request).where(chosen).distinct()
    found = subjects_of(connection, list(connection.execute(same).scalars()))
    beyond = {subject.request for subject in found if (subject.dataset, subject.token) not in covered}
    found = [subject for subject in found if subject.request not in beyond]
    held = requests.c.id.in_({subject.request for subject in found}) & (requests.c.approval == "waiting")
    names = connection.execute(select(requests.c.id).where(held).order_by(requests.c.id)).scalars().all()
    journal.append_each(connection, "JOINED", [{"request": name} for name in names])
    connection.execute(requests.update().where(held).values(approval="none", not_before=None, reason=None))
    return found


def _where(split: str) -> Where:
    return ERASED if split == ERASED else "train" if split == "train" else "holdout"


def _open_request(
    connection: Connection, found: Located, controller: str, under_way: Mapping[str, Set[Subject]]
) -> str | None:
    """An open request of a controller that covers the person wherever they were found, if there is one."""
    covering: set[str] | None = None
    own = func.coalesce(requests.c.controller, requests.c.actor) == controller
    asked = select(quarantine.c.request).join(requests, requests.c.id == quarantine.c.request)
    mine = set(connection.execute(select(requests.c.id).where(own, requests.c.id.in_(under_way))).scalars())
    for subject in found.subjects:
        same = (quarantine.c.dataset == subject.dataset) & (quarantine.c.token == subject.token)
        here = set(connection.execute(asked.where(own & same)).scalars())
        here |= {request for request in mine if subject in under_way[request]}
        covering = here if covering is None else covering & here
    return min(covering) if covering else None


def _under_way(connection: Connection, found: Located) -> dict[str, set[Subject]]:
    """Whom of these people begun erasures have dropped the rows of, by request: until it is over, something may be left."""
    dropped: dict[str, set[Subject]] = {}
    lifted = [erasure for erasure in saga.unfinished(connection) if erasure.step in saga.LIFTED]
    for request in [request for erasure in lifted for request in erasure.requests]:
        box = vault.unseal(connection, request) if vault.holds(connection, request) else {"subjects": []}
        for dataset, token, point in box["subjects"]:
            subject = Subject(
                request="",
                dataset=dataset,
                token=bytes.fromhex(token),
                point=int(point),
                slice_point=0,
                split=ERASED,
            )
            if (dataset, subject.token) in found.asked:
                dropped.setdefault(request, set()).add(subject)
    return dropped


def _is_known(workspace: Workspace, request: str) -> bool:
    with workspace.engine.connect() as connection:
        return connection.execute(select(requests.c.id).where(requests.c.id == request)).first() is not None


def _quarantine(connection: Connection, request: str, found: Located, *, keeps: bool) -> None:
    """Puts a person under quarantine and seals what is known of them; `keeps`: their suppression token stays at the end."""
    for subject in found.subjects:
        places = {"request": request, "point": str(subject.point), "slice_point": str(subject.slice_point)}
        connection.execute(quarantine.insert().values(**subject.__dict__ | places))
    content: dict[str, Any] = {
        "needles": sorted(needle.hex() for needle in found.needles),
        "short": sorted(needle.hex() for needle in found.short),
        "unsearched": sorted(found.unsearched),
        "subjects": [[s.dataset, s.token.hex(), str(s.point)] for s in found.subjects],
        "suppress": [[kind, token.hex()] for kind, token in sorted(found.suppress)],
        "keeps": keeps,
    }
    vault.seal(connection, request, content)
    journal.append(connection, "QUARANTINED", request=request, datasets=sorted({s.dataset for s in found.subjects}))


def _get(connection: Connection, request: str) -> Any:
    row = connection.execute(select(requests).where(requests.c.id == request)).one_or_none()
    if row is None:
        raise NotFoundError(f"no request {request!r} here", hint="workbench requests list")
    return row


def reason_of(row: Any) -> str | None:
    """Why a request stands as its row says: why it was refused, or what it waits for."""
    if row.reason or row.status != _WAITING:
        return str(row.reason) if row.reason else None
    if row.approval == "waiting":
        return "waits for approval"
    return f"waits for its window to end at {row.not_before}" if row.not_before else None


def _receipt(row: Any, nonce: str | None = None) -> Receipt:
    return Receipt(
        id=row.id,
        status=row.status,
        commitment=row.commitment,
        due=row.due,
        nonce=nonce,
        reason=reason_of(row),
        certificate=row.certificate,
    )


def _due(days: int) -> str:
    return (dt.datetime.fromisoformat(journal.now()) + dt.timedelta(days=days)).isoformat(timespec="seconds")
