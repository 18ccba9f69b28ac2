"""The verification of an erasure: the store, the checkpoints and every byte are read again, trusting no earlier step.

Whatever is left of a person keeps that person's request from its certificate, and nothing else: a request with a hit goes on
as an erasure by itself, `held`, and the others that were carried out with it are certified.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, select

from workbench.bytescan.folders import Unread
from workbench.data import catalog
from workbench.data.store import Store
from workbench.erasure import saga, vault
from workbench.erasure.byte_scan import BytesFound, Finding, Marks, scan_bytes, unsearched
from workbench.erasure.free_text import is_named_in, shown_file, withhold_names
from workbench.erasure.request import advance
from workbench.erasure.saga import Erasure
from workbench.erasure.verify import Check, check_isolation, check_objects, check_purged, check_removed, check_rows
from workbench.erasure.weak_scan import COMMON, SHORT, is_common, scan_common, scan_short
from workbench.errors import CheckFailedError, DamagedError, HeldError, InputError
from workbench.progress import Progress
from workbench.state import compact, writing
from workbench.state.roles import internal
from workbench.state.tables import quarantine
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.judge_hits import Judged, judge
from workbench.workflows.training.publish_version import live_objects
from workbench.workflows.training.train_shards import objects_of

_KEPT_HITS = 100  # of a request; one is enough to keep it open
Json = Mapping[str, Any]  # of a hit, a scan or a box as they are stored with the erasure
DIGITS = "numbers in differentially private results, for an identifier of digits alone"
_HELD_BY_TEXT = "the search for what is left of the person found a text that no step removes"
_HELD_BY_FILE = "the search for what is left of the person met a file that can't be searched"
_ONCE = (
    "untouched shards",
    "checkpoints",
)  # checks of the moment it was published: later versions change what they read


@dataclass(frozen=True, kw_only=True)
class _Person:
    """What the box of a request knows of its person."""

    tokens: frozenset[bytes]
    identifiers: frozenset[bytes]
    short: frozenset[bytes]
    unsearched: tuple[str, ...]
    places: tuple[tuple[str, bytes, int], ...]  # data set, token, shard point

    @property
    def needles(self) -> frozenset[bytes]:
        return self.tokens | self.texts

    @property
    def texts(self) -> frozenset[bytes]:
        return self.identifiers | self.short


@internal
def verify(workspace: Workspace, erasure: Erasure, progress: Progress) -> tuple[Erasure, Callable[[Connection], None]]:
    """Reads everything again; requests that something is left of are put aside, each as an erasure of its own.

    Raises HeldError where no other request remains, CheckFailedError where a row, a file or a checkpoint is not as it should
    be.
    """
    progress(0.9, "verifying")
    with workspace.engine.connect() as connection:
        people = {request: _person(vault.unseal(connection, request)) for request in erasure.requests}
    common = {text for person in people.values() for text in person.texts if is_common(workspace, text)}
    with writing(workspace.engine) as connection:
        if not erasure.held:
            advance(connection, erasure.requests, "verifying")
        withhold_names(
            workspace, connection, {needle for person in people.values() for needle in person.texts} - common
        )
    checks = _state_checks(workspace, erasure, people)
    if failed := [check for check in checks if not check.ok]:
        raise CheckFailedError(
            "the erasure could not be verified: " + "; ".join(f"{check.name}: {check.detail}" for check in failed),
            hint="nothing was certified; workbench resume verifies again",
        )
    compact(workspace.engine)
    places = {(token, point) for person in people.values() for _, token, point in person.places}
    stay = _staying(workspace, erasure, places)
    found = scan_bytes(
        workspace,
        tokens={token for person in people.values() for token in person.tokens}
        - stay
        - {token.hex().encode() for token in stay},
        identifiers={identifier for person in people.values() for identifier in person.identifiers} - common,
        removed=_removed(workspace, erasure),
    )
    found = _with_texts(workspace, found, common, {short for person in people.values() for short in person.short})
    judged = judge(workspace, found, people=places, accepted=erasure.accepted)
    left = {
        request: [finding for finding in judged.left if finding.concerns(person.needles)]
        for request, person in people.items()
    }
    files = {finding.file for findings in left.values() for finding in findings}
    found = replace(found, others=frozenset(file for file in files if is_named_in(workspace, file)))
    stuck = [request for request in erasure.requests if left[request]]
    if stay:
        known = sum(not tokens.isdisjoint(stay) for tokens in _each_once(people.values()))
        detail = (
            f"{known} of the people are known to the workspace still, outside of what was asked for: their tokens, which "
            "lie there, were not searched"
        )
        checks.append(Check(name="people elsewhere", ok=True, detail=detail))
    erasure = erasure.model_copy(update={"checks": tuple(check.to_json() for check in checks)})
    aside = [_aside(workspace, erasure, request, people[request], found, left[request]) for request in stuck]
    clean = [request for request in erasure.requests if request not in stuck]
    if not clean:
        with writing(workspace.engine) as connection:
            _hold(connection, erasure, aside, left)
        raise held_error(aside[0])
    scans = {request: _for_certificate(workspace, judged, people[request], common) for request in clean}
    checks.append(found.check([], _counted(judged, [people[request] for request in clean])))
    done = _of(erasure, clean, people).model_copy(
        update={"checks": tuple(check.to_json() for check in checks), "scans": scans, "hits": ()}
    )
    done = done.model_copy(update={"people": len(_each_once(people[request] for request in clean))})

    def commit(connection: Connection) -> None:
        _put_aside(connection, aside, left)

    return done, commit


def _with_texts(workspace: Workspace, found: BytesFound, common: Set[bytes], short: Set[bytes]) -> BytesFound:
    """What was found, with what a search of texts finds of identifiers that are not searched for in all bytes."""
    texts, unread = scan_short(workspace, short - common)
    names = scan_common(workspace, common)
    merged: dict[str, Unread] = {}
    for one in (*(finding.unread for finding in found.findings if finding.unread), *unread):
        merged[one.place] = merged[one.place].with_(one) if one.place in merged else one
    hits = [finding for finding in found.findings if not finding.unread]
    return replace(found, findings=(*map(unsearched, merged.values()), *hits, *texts, *names))


def _person(box: Json) -> _Person:
    places = tuple((dataset, bytes.fromhex(token), int(point)) for dataset, token, point in box["subjects"])
    needles = {bytes.fromhex(needle) for needle in box["needles"]}
    # a box holds each token with its hexadecimal digits, those of data sets that the person was not found in too
    tokens = {token for _, token, _ in places} | {n for n in needles if n.hex().encode() in needles}
    tokens |= {token.hex().encode() for token in tokens}
    return _Person(
        tokens=frozenset(tokens),
        identifiers=frozenset(needles - tokens),
        short=frozenset(bytes.fromhex(needle) for needle in box.get("short", ())),
        unsearched=tuple(box.get("unsearched", ())),
        places=places,
    )


def _each_once(people: Iterable[_Person]) -> list[set[bytes]]:
    """The tokens of each person; requests that share a token are of one."""
    found: list[set[bytes]] = []
    for person in people:
        tokens = {token for _, token, _ in person.places}
        same = [one for one in found if not one.isdisjoint(tokens)]
        found = [one for one in found if one not in same] + [tokens.union(*same)]
    return found


def _state_checks(workspace: Workspace, erasure: Erasure, people: Mapping[str, _Person]) -> list[Check]:
    """The checks of rows, files and checkpoints; of a held erasure those that later versions would change are kept."""
    checks = [Check(**check) for check in erasure.checks if check["name"] in _ONCE]
    with workspace.engine.connect() as connection:
        live = live_objects(connection)
    for dataset, state in erasure.datasets.items():
        here = [(token, point) for p in people.values() for name, token, point in p.places if name == dataset]
        checks.append(_rows_gone(workspace, dataset, here))
        objects = objects_of(workspace, dataset)
        checks.append(check_removed(objects, set(state.removed) - (live if erasure.held else set())))
        checks.append(check_purged(workspace.root, [a["path"] for a in state.purge if a["path"] is not None]))
        for e in () if erasure.held else state.ensembles:
            checks.append(check_isolation(e.old, e.new, e.retrain))
            checks.append(check_objects(objects, e.new.objects()))
    return checks


def _rows_gone(workspace: Workspace, dataset: str, people: Sequence[tuple[bytes, int]]) -> Check:
    """The check of rows, again where a writer replaced a bucket file under the reader: who is held locks no data set."""
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, dataset)
        while True:
            try:
                return check_rows(store, people)
            except DamagedError:
                before, store = store, catalog.store(connection, workspace, dataset)
                if store.digests == before.digests:
                    raise


def _of(erasure: Erasure, requests: Sequence[str], people: Mapping[str, _Person]) -> Erasure:
    """The erasure of these requests alone, with the data sets that they are about."""
    concerned = {dataset for request in requests for dataset, _, _ in people[request].places}
    datasets = {name: state for name, state in erasure.datasets.items() if name in concerned}
    return erasure.model_copy(update={"requests": tuple(requests), "datasets": datasets})


def _aside(
    workspace: Workspace,
    erasure: Erasure,
    request: str,
    person: _Person,
    found: BytesFound,
    left: Sequence[Finding],
) -> Erasure:
    """The erasure of one request that something is left of."""
    marks = Marks(workspace.key("token"))
    hits = [_kept(marks, found, finding) for finding in left[:_KEPT_HITS]]
    update = {
        "held": True,
        "people": 1,
        "tried": time.time(),
        "found": found.check(left).detail,
        "hits": tuple(hits),
        "scans": {},
    }
    alone = _of(erasure, [request], {request: person}).model_copy(update=update)
    return alone if erasure.held else alone.model_copy(update={"id": f"erasure-{secrets.token_hex(6)}"})


def _kept(marks: Marks, found: BytesFound, finding: Finding) -> Json:
    """A hit as it is shown and can be accepted: not by the name of a file that is called after the person, nor a token."""
    place: dict[str, Any] = {"place": found.place(finding)}
    if finding.is_strong or finding.hit.where == "name" or found.is_named(finding.file):
        return place
    return place | marks.of(finding)


@internal
def held_error(erasure: Erasure) -> HeldError:
    """What is said of an erasure that is held."""
    return HeldError(
        f"the erasure could not be verified: byte scan: {erasure.found}",
        hint="nothing was certified, and nothing else waits for it: workbench requests show tells what was found",
    )


def _hold(
    connection: Connection, erasure: Erasure, aside: Sequence[Erasure], left: Mapping[str, Sequence[Finding]]
) -> None:
    """Records that no request of an erasure can be certified yet; hits that were accepted during the search stay so."""
    if erasure.held:
        stored = saga.find(connection, erasure.id)
        if stored is not None and stored.step == erasure.step:
            saga.save(connection, _accepting(aside[0], stored) if stored.accepted != erasure.accepted else aside[0])
    else:
        saga.finish(connection, erasure)
        _put_aside(connection, aside, left)


def _accepting(alone: Erasure, stored: Erasure) -> Erasure:
    """A held erasure with what a person accepted of it while it was searched, to be tried again at once."""
    marks = {hit["mark"] for hit in stored.accepted}
    left = tuple(hit for hit in alone.hits if hit.get("mark") not in marks)
    return alone.model_copy(update={"accepted": stored.accepted, "hits": left, "tried": 0.0})


def _put_aside(connection: Connection, aside: Sequence[Erasure], left: Mapping[str, Sequence[Finding]]) -> None:
    """Records erasures that are held from now on, each of one request. What was found is for operators, not in the reason."""
    for alone in aside:
        (request,) = alone.requests
        unread = all(finding.unread for finding in left[request])
        saga.create(connection, alone)
        advance(connection, [request], "failed", reason=_HELD_BY_FILE if unread else _HELD_BY_TEXT)


def _for_certificate(workspace: Workspace, judged: Judged, person: _Person, common: Set[bytes]) -> Json:
    """What the certificate of a request says of its scan; nothing where there is nothing to say."""
    told: dict[str, Any] = {}
    unsearched = [
        *person.unsearched,
        *([SHORT] if person.short else []),
        *([COMMON] if common & person.texts else []),
    ]
    if any(identifier.isdigit() for identifier in person.identifiers):
        unsearched.append(DIGITS)
    if unsearched:
        told["not_searched"] = sorted(unsearched)
    for finding in judged.chance:
        if not person.texts.isdisjoint(finding.needles):
            told.setdefault("chance", []).append({"file": finding.file, "offset": finding.hit.offset})
    answered = {kept["mark"]: kept for finding, kept in judged.accepted if finding.concerns(person.texts)}
    for kept in answered.values():
        one = {key: kept[key] for key in ("file", "offset", "unread", "reason") if key in kept}
        one["file"] = shown_file(workspace, kept["file"])
        told.setdefault("unread" if "unread" in kept else "accepted", []).append(one)
    return told


def _counted(judged: Judged, people: Sequence[_Person]) -> str:
    mine = {needle for person in people for needle in person.texts}
    chance = sum(not mine.isdisjoint(finding.needles) for finding in judged.chance)
    accepted = sum(finding.concerns(mine) for finding, _ in judged.accepted)
    told = f"; {chance} more by chance, proved by replay" if chance else ""
    return told + (f"; {accepted} more that a person accepted" if accepted else "")


def _staying(workspace: Workspace, erasure: Erasure, people: Collection[tuple[bytes, int]]) -> set[bytes]:
    """Tokens of people who rightly are here still: in a data set that was not asked about, or under another open request."""
    with workspace.engine.connect() as connection:
        others = [name for name in catalog.names(connection) if name not in erasure.datasets]
        stores = [catalog.store(connection, workspace, name) for name in others]
        asked = (quarantine.c.request.not_in(erasure.requests)) & quarantine.c.token.in_([token for token, _ in people])
        open_ = set(connection.execute(select(quarantine.c.token).where(asked)).scalars())
    return open_ | {token for token, point in people if any(_holds(s, token, point) for s in stores)}


def _holds(store: Store, token: bytes, point: int) -> bool:
    try:
        return bool(store.splits_of(token, point))
    except InputError:  # damaged: another data set's trouble, and then nothing is left out of the search
        return False


def _removed(workspace: Workspace, erasure: Erasure) -> set[str]:
    """Digests of checkpoints and releases that may lie nowhere: another data set's may be the very same, and stay."""
    with workspace.engine.connect() as connection:
        live = live_objects(connection)
    releases = {a["digest"] for state in erasure.datasets.values() for a in state.purge if a["kind"] == "release"}
    return ({digest for state in erasure.datasets.values() for digest in state.removed} | releases) - live
