"""Accepting an erasure request that comes over HTTP as OpenDSR 2.0."""

from __future__ import annotations

import datetime as dt
import hmac
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, select

from workbench.data.identity import canonical
from workbench.erasure.callback import MAX_URLS, register
from workbench.erasure.callback_url import CallbackRules, checked
from workbench.erasure.intake import Asked, parse_open_dsr
from workbench.erasure.open_dsr import DENIED, EXTENSION
from workbench.erasure.request import Receipt, known_request, submit_person
from workbench.errors import InputError, ReusedKeyError
from workbench.state import journal, writing
from workbench.state.roles import allowed, internal
from workbench.state.tables import answers, requests
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.results import RequestReceipt
from workbench.workflows.controllers.tokens import KEY, Caller
from workbench.workflows.erasure.identities import identities_of

Document = Mapping[str, Any]  # the body of a call, as it was sent
IDEMPOTENCY_KEY = "[!-~]{16,255}"  # a pattern
_KEPT_HOURS = 24
_TELLING = 8  # characters from which on an identifier is told from what a URL holds by chance


@allowed("operate")
def accept(
    workspace: Workspace, caller: Caller, body: bytes, *, key: str | None = None, rules: CallbackRules | None = None
) -> RequestReceipt:
    """The receipt of a request, its person under quarantine; raises InputError or NotFoundError where it can't be one.

    - Request, quarantine, callbacks and answer are one write: all there or nothing.
    - With an idempotency `key` the same call gets the same receipt for a day, the nonce included, also where the first try
      was killed before it could answer: the nonce derives from the key, which is stored nowhere. The same key with another
      body raises ReusedKeyError.
    - A request id that was used before raises KnownRequestError and changes nothing.
    """
    secret = workspace.key(KEY)
    if key is not None and not re.fullmatch(IDEMPOTENCY_KEY, key):
        raise InputError("an idempotency key has 16 to 255 printable ASCII characters", hint="send a random UUID")
    asked, document = parse_open_dsr(body)
    urls = _callback_urls(document, asked, rules or CallbackRules())
    kept = None if key is None else (_hash(secret, "key", caller.name, key), _hash(secret, "body", body))
    nonce = None if key is None else _hash(secret, "nonce", caller.name, key, str(asked.request_id))[:16]
    if kept is not None:
        with workspace.engine.connect() as connection:
            before = _answered(connection, *kept)
        if before is not None:
            return _with_nonce(before, nonce)
    told: list[RequestReceipt] = []

    def beside(connection: Connection, made: Receipt) -> None:
        answer = _receipt(connection, caller, made)
        told.append(answer)
        if answer.request_status != DENIED:
            register(connection, secret, made.id, urls, answer.request_status)
        if kept is not None:
            _keep(connection, *kept, _with_nonce(answer, None))

    with journal.acting(caller.actor):
        submit_person(
            workspace, identities_of(workspace, asked), request_id=asked.request_id, nonce=nonce, beside=beside
        )
    if told:
        return told[0]
    with workspace.engine.connect() as connection:  # the same call was answered at this moment
        before = None if kept is None else _answered(connection, *kept)
    if before is None:
        raise known_request()
    return _with_nonce(before, nonce)


@internal
def forget_answers(workspace: Workspace) -> None:
    """Removes the answers to idempotency keys that are older than a day."""
    with writing(workspace.engine) as connection:
        connection.execute(answers.delete().where(answers.c.created <= _since()))


def _callback_urls(document: Document, asked: Asked, rules: CallbackRules) -> list[str]:
    urls = document.get("status_callback_urls", [])
    if not isinstance(urls, list) or len(urls) > MAX_URLS:
        raise InputError(f"status_callback_urls are not a list of at most {MAX_URLS}")
    named = [canonical(identity.value) for identity in asked.identities]
    for url in urls:
        checked(url, rules, without=[name for name in named if len(name) >= _TELLING])
    return list(dict.fromkeys(urls))


def _answered(connection: Connection, key: bytes, body: bytes) -> RequestReceipt | None:
    """The answer to the same call, if there was one within the day; raises ReusedKeyError where it had another body."""
    row = connection.execute(select(answers).where(answers.c.key == key, answers.c.created > _since())).one_or_none()
    if row is None:
        return None
    if not hmac.compare_digest(row.body, body):
        raise ReusedKeyError("this idempotency key was used for another body", hint="send a new key")
    return RequestReceipt.from_json(row.answer)


def _keep(connection: Connection, key: bytes, body: bytes, answer: RequestReceipt) -> None:
    connection.execute(answers.delete().where(answers.c.created <= _since()))
    _answered(connection, key, body)  # another body under this key, accepted at this moment, takes this one back
    connection.execute(answers.insert().values(key=key, body=body, answer=answer.to_json(), created=journal.now()))


def _receipt(connection: Connection, caller: Caller, made: Receipt) -> RequestReceipt:
    row = connection.execute(select(requests).where(requests.c.id == made.id)).one()
    return RequestReceipt.of_new(row, caller.name, nonce=made.nonce, duplicate_of=made.duplicate_of)


def _with_nonce(answer: RequestReceipt, nonce: bytes | None) -> RequestReceipt:
    """A receipt with its nonce in place, or without; who was denied has none."""
    told = nonce.hex() if nonce is not None and answer.request_status != DENIED else None
    return replace(answer, extensions={EXTENSION: replace(answer.extensions[EXTENSION], nonce=told)})


def _hash(secret: bytes, purpose: str, *parts: str | bytes) -> bytes:
    coded = [part.encode() if isinstance(part, str) else part for part in (purpose, *parts)]
    return hmac.digest(secret, b"".join(len(part).to_bytes(8, "big") + part for part in coded), "sha256")


def _since() -> str:
    return (dt.datetime.fromisoformat(journal.now()) - dt.timedelta(hours=_KEPT_HOURS)).isoformat(timespec="seconds")
