"""Carrying out the requests that arrive as files in an inbox, for as long as it runs.

A file is taken by a rename into `.taken-SECRET/`, and every request id and nonce that it does not give derives from that
secret: whatever instant the worker is killed at, the next one reads the file again and arrives at the same requests. The
file goes once its receipt is durable, the folder once every request of it is over.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import select

from workbench.erasure.intake import MAX_BYTES, Asked, Intake, ending_of, parse
from workbench.erasure.request import OPEN, reason_of, submit_person
from workbench.errors import (
    BusyError,
    InputError,
    KnownRequestError,
    NamingError,
    NotFoundError,
    WorkbenchError,
    exit_code_of,
)
from workbench.foreign import read_stream
from workbench.state import journal
from workbench.state.atomic_files import remove, sync, write_atomic
from workbench.state.roles import allowed, open_to_all
from workbench.state.tables import requests
from workbench.state.workspace import Workspace
from workbench.workflows.controllers.callbacks import tell_due, tell_waiting, telling
from workbench.workflows.controllers.results import (
    BatchEntry,
    BatchReceipt,
    BatchResult,
    BatchState,
    ReceiptEntry,
    RefusedEntry,
    ResultEntry,
    WorkerResult,
)
from workbench.workflows.erasure.erase import exit_of
from workbench.workflows.erasure.identities import identities_of
from workbench.workflows.erasure.run_waiting import erase_waiting
from workbench.workflows.result import Result
from workbench.workflows.synthesis.measure_again import measure_again

RECEIPT, RESULT, REJECTED = ".receipt.json", ".result.json", "rejected"
_TAKEN, _BATCH = ".taken-", ".batch.json"
_LEFT_OUT = (".part", ".tmp", RECEIPT, RESULT)
_OUR_PART = re.compile(r"\.part-[0-9a-f]{16}")
_MAX_NAME = 200  # bytes; the names of receipt and result are longer, and a file system takes 255
_KEPT = (
    "The file lies beside this one, because whoever sent it must see what was wrong. It may hold identifiers: "
    "delete it once it is mended and sent again.\n"
)


class Stop(Protocol):
    """Whether the worker was asked to end; a `threading.Event` is one."""

    def is_set(self) -> bool:
        """Whether it was asked."""

    def wait(self, timeout: float) -> bool:
        """Waits that many seconds, or until it is asked."""


@dataclass(frozen=True)
class Batch:
    """A file that was taken. The folder's name is a secret until it is gone; `tag` is what logs call it."""

    inbox: Path
    folder: Path

    @property
    def tag(self) -> str:
        """What the batch is called in logs and receipts: it tells nothing of the secret or the file's name."""
        return self.derive("tag", 0).hex()[:8]

    def derive(self, what: str, line: int) -> bytes:
        """16 bytes for one entry of the file: the same at every try, and unknown to whoever lacks the secret."""
        secret = self.folder.name.removeprefix(_TAKEN).encode()
        return hmac.digest(secret, f"{what}:{line}".encode(), "sha256")[:16]

    @property
    def file(self) -> Path | None:
        """The sender's file, until its receipt is written."""
        return next((path for path in self.folder.iterdir() if not path.name.startswith(".")), None)

    @property
    def state(self) -> Path:
        """Where it is noted what the requests of the file are, without a key."""
        return self.folder / _BATCH


@allowed("operate")
def work(workspace: Workspace, inbox: Path, *, stop: Stop, once: bool = False, interval: float = 5.0) -> WorkerResult:
    """Takes files from `inbox` until asked to stop, or `once` all that are there, and carries their requests out.

    - No request is lost or doubled, whatever instant the worker is killed at; one worker at a time has an inbox.
    - Receipts, results and logs name a person only by request id. A file that can't be read goes to `rejected/` with the
      reason, and holds what it held.
    - Controllers that handed requests in over HTTP are told how these stand, beside the work; what is left is told by the next.
    - A file is complete when it has its name: senders write it as NAME.part and rename it.
    """
    inbox = _checked(workspace, inbox)
    done: dict[str, int] = dict.fromkeys(("files", "requests", "poison"), 0)
    # SQLite writes its log back into the database whenever the last connection closes: not after each request, then
    with _alone(inbox), workspace.engine.connect():
        _clear(inbox)
        with telling(partial(tell_due, workspace, log=log), interval=interval, log=log):
            worst = _round(workspace, inbox, done, stop)
            _guarded(_measure, workspace, None)  # what a killed worker did not come to
            while not (once or stop.is_set() or stop.wait(interval)):
                worst = _round(workspace, inbox, done, stop)
        if not stop.is_set():
            tell_waiting(workspace, log=log)
    return WorkerResult(inbox=str(inbox), **done, exit=worst if once and not stop.is_set() else 0)


@open_to_all
def log(event: str, **fields: Any) -> None:
    """One line of JSON on standard error; it names nobody and no file of a sender."""
    known = {name: value for name, value in fields.items() if value is not None}
    print(json.dumps({"at": journal.now(), "event": event, **known}), file=sys.stderr, flush=True)


def _measure(workspace: Workspace, request_ids: Collection[str] | None) -> int:
    for release in measure_again(workspace, request_ids):
        log("measured", release=release)
    return 0


def _checked(workspace: Workspace, inbox: Path) -> Path:
    if not inbox.is_dir():
        raise InputError(f"there is no folder {inbox}", hint="make it; it should be open to the senders alone")
    inbox = inbox.resolve()
    if inbox.is_relative_to(workspace.root):
        raise InputError("the inbox lies in the workspace, where no identifier may be", hint="name another folder")
    return inbox


@contextmanager
def _alone(inbox: Path) -> Iterator[None]:
    """Raises BusyError where another worker has the inbox."""
    descriptor = os.open(inbox / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another worker has the inbox {inbox}", hint="one is enough") from None
        yield
    finally:
        os.close(descriptor)


def _clear(inbox: Path) -> None:
    """Removes what killed workers were writing here; a sender's own unfinished file stays."""
    for folder in (inbox, inbox / REJECTED):
        for path in list(folder.iterdir()) if folder.is_dir() else ():
            if _OUR_PART.fullmatch(path.name):
                remove(path)


def _round(workspace: Workspace, inbox: Path, done: dict[str, int], stop: Stop) -> int:
    """Finishes what was begun, takes what is there, carries it out and tells the results; returns the worst exit code."""
    codes = [_guarded(_carry_out, workspace)]
    for batch in list(_taken(inbox)):
        codes.append(_guarded(_take_in, workspace, batch, done, stop))
    for path in list(_arrived(inbox)):
        codes.append(_guarded(_take_new, workspace, inbox, path, done, stop))
    if not stop.is_set():
        codes.append(_guarded(_carry_out, workspace))
    for batch in list(_taken(inbox)):
        codes.append(_guarded(_tell, workspace, batch))
    return max(codes)


def _guarded(step: Callable[..., int], *arguments: Any) -> int:
    """The exit code of a step; a fault is logged, and the next round tries again."""
    batch = next((a.tag for a in arguments if isinstance(a, Batch)), None)
    try:
        return step(*arguments)
    except WorkbenchError as fault:
        log("fault", batch=batch, code=fault.code, message=str(fault))
        return fault.exit_code
    except OSError as fault:  # without its file name, which is the sender's
        log("fault", batch=batch, code="file", message=fault.strerror)
        return exit_code_of(fault)


def _carry_out(workspace: Workspace) -> int:
    outcome = erase_waiting(workspace)
    for request, result in outcome.done.items():
        log("completed", request=request, retrain_seconds=result.retrain_seconds)
    _measure(workspace, outcome.done)
    outcome.results()
    return 0


def _arrived(inbox: Path) -> Iterator[Path]:
    """Files that are complete, by name; links, folders and our own answers are none."""
    for path in sorted(inbox.iterdir()):
        left_out = path.name.startswith(".") or path.name.lower().endswith(_LEFT_OUT)
        if not left_out and stat.S_ISREG(path.lstat().st_mode):
            yield path


def _taken(inbox: Path) -> Iterator[Batch]:
    for folder in sorted(inbox.glob(f"{_TAKEN}*")):
        if folder.lstat().st_uid != os.geteuid() or folder.is_symlink() or not folder.is_dir():
            continue  # a sender's forgery
        batch = Batch(inbox, folder)
        if batch.file is not None or batch.state.exists():
            yield batch
        else:  # killed as it was made, or as it went
            remove(folder)


def _take(inbox: Path, path: Path) -> Batch | None:
    """Takes a file by renaming it; None where its sender withdrew it at that moment."""
    folder = inbox / f"{_TAKEN}{secrets.token_hex(32)}"
    folder.mkdir(mode=0o700)
    try:
        path.rename(folder / path.name)
    except FileNotFoundError:
        folder.rmdir()
        return None
    sync(folder)
    sync(inbox)
    return Batch(inbox, folder)


def _take_new(workspace: Workspace, inbox: Path, path: Path, done: dict[str, int], stop: Stop) -> int:
    batch = None if stop.is_set() else _take(inbox, path)
    return 0 if batch is None else _take_in(workspace, batch, done, stop)


def _take_in(workspace: Workspace, batch: Batch, done: dict[str, int], stop: Stop) -> int:
    """Submits the requests of a taken file, writes the receipt, then deletes the file."""
    file = batch.file
    if file is None:  # taken in before
        return 0
    try:
        intake = _read(file)
    except InputError as fault:
        _reject(batch, file, str(fault))
        done["files"], done["poison"] = done["files"] + 1, done["poison"] + 1
        log("poison", batch=batch.tag, reason=str(fault))
        return InputError.exit_code
    entries: list[ReceiptEntry] = []
    for asked in intake.asked:
        if stop.is_set():
            return 0
        entries.append(_submit(workspace, batch, asked))
    entries += [_refused(m.line, m.reason, InputError.exit_code) for m in intake.malformed]
    entries.sort(key=lambda entry: entry.line)
    _accept(batch, file, entries)
    done["files"], done["requests"] = done["files"] + 1, done["requests"] + len(entries)
    log("accepted", batch=batch.tag, requests=len(intake.asked), malformed=len(intake.malformed))
    return 0


def _read(file: Path) -> Intake:
    """What a file asks for; raises InputError where that is nothing at all."""
    ending = ending_of(file.name)
    if ending is None:
        raise InputError("its name has none of the endings .txt, .csv, .jsonl and .json")
    if len(os.fsencode(file.name)) > _MAX_NAME:
        raise InputError(f"its name is longer than {_MAX_NAME} bytes")
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
        intake = parse(read_stream(stream, most=MAX_BYTES, what="the file", hint="split it"), ending)
    if not intake.asked:
        raise InputError(
            "; ".join(f"line {m.line}: {m.reason}" for m in intake.malformed[:20]) or "it holds no request"
        )
    return intake


def _submit(workspace: Workspace, batch: Batch, asked: Asked) -> ReceiptEntry:
    try:
        identities = identities_of(workspace, asked)
    except (InputError, NotFoundError) as fault:
        return _refused(asked.line, str(fault), fault.exit_code)
    try:
        receipt = submit_person(
            workspace,
            identities,
            request_id=asked.request_id or f"er-{batch.derive('request', asked.line).hex()[:20]}",
            is_random_id=asked.request_id is None,
            nonce=batch.derive("nonce", asked.line),
            controller=f"inbox:{batch.tag}",  # who sent another file may be another party
        )
    except (KnownRequestError, NamingError) as fault:
        is_known = isinstance(fault, KnownRequestError)
        return replace(_refused(asked.line, str(fault), fault.exit_code), known_before=is_known)
    return ReceiptEntry(
        line=asked.line,
        request=receipt.id,
        status=receipt.status,
        due=receipt.due,
        commitment=receipt.commitment,
        nonce=receipt.nonce,
        reason=receipt.reason,
        duplicate_of=receipt.duplicate_of,
        known_before=False,
        exit=exit_of(receipt.status, malformed=receipt.malformed),
    )


def _refused(line: int, reason: str, exit_code: int) -> RefusedEntry:
    return RefusedEntry(line=line, reason=reason, exit=exit_code)


def _accept(batch: Batch, file: Path, entries: Sequence[ReceiptEntry]) -> None:
    """Receipt, then what is left to tell, then the file goes: each durable before the next."""
    _write(_beside(batch, file.name, RECEIPT), BatchReceipt(batch=batch.tag, requests=tuple(entries)))
    _write(batch.state, BatchState(name=file.name, requests=tuple(map(BatchEntry.of, entries))))
    remove(file)


def _reject(batch: Batch, file: Path, reason: str) -> None:
    """Puts a file that can't be read where its sender finds it, beside the reason."""
    folder = batch.inbox / REJECTED
    if folder.is_symlink():
        raise InputError(f"{folder} is a link to elsewhere", hint="remove it")
    folder.mkdir(exist_ok=True)
    name = file.name if len(os.fsencode(file.name)) <= _MAX_NAME else f"{batch.tag}{file.suffix[:8]}"
    names = (name if k == 1 else f"{k}-{name}" for k in count(1))
    free = next(n for n in names if not os.path.lexists(folder / n))
    write_atomic(folder / f"{free}.reason.txt", f"{reason}\n\n{_KEPT}".encode(), mode=0o640)
    file.rename(folder / free)
    sync(folder)
    remove(batch.folder)


def _tell(workspace: Workspace, batch: Batch) -> int:
    """Writes how a batch's requests stand and forgets it once all are over; returns the worst exit code."""
    if not batch.state.exists():  # its file is to be taken in again
        return BusyError.exit_code
    state = BatchState.from_json(json.loads(batch.state.read_bytes()))
    named = {request for entry in state.requests for request in (entry.request, entry.duplicate_of)}
    with workspace.engine.connect() as connection:
        rows = {row.id: row for row in connection.execute(select(requests).where(requests.c.id.in_(named - {None})))}
    entries = tuple(_standing(workspace, entry, rows) for entry in state.requests)
    is_over = not any(row.status in OPEN for row in rows.values())
    path, result = _beside(batch, state.name, RESULT), BatchResult(batch=batch.tag, requests=entries)
    if _document(path) != result.to_json():
        _write(path, result)
    if is_over:
        remove(batch.folder)
        log("finished", batch=batch.tag, requests=len(entries))
    return max(entry.exit for entry in entries)


def _standing(workspace: Workspace, entry: BatchEntry, rows: Mapping[str | None, Any]) -> ResultEntry:
    """How a request stands now; a duplicate has the certificate of the one it repeats."""
    row = rows.get(entry.request)
    meant = rows.get(entry.duplicate_of, row)
    return ResultEntry(
        line=entry.line,
        request=entry.request,
        status=row.status if row else "rejected",
        reason=reason_of(row) if row else entry.reason,
        duplicate_of=entry.duplicate_of,
        certificate=str(workspace.root / meant.certificate) if meant and meant.certificate else None,
        exit=entry.exit if meant is None or meant.status == "rejected" else exit_of(meant.status),
    )


def _beside(batch: Batch, name: str, ending: str) -> Path:
    """Where a batch's answer lies: an answer to an earlier file of that name stays, and this one is numbered."""
    for k in count(1):
        path = batch.inbox / f"{name}{'' if k == 1 else f'.{k}'}{ending}"
        if not os.path.lexists(path) or (_document(path) or {}).get("batch") == batch.tag:
            return path
    raise AssertionError


def _document(path: Path) -> Mapping[str, Any] | None:
    """The JSON object in a file of ours, or None where it is not there or not ours."""
    try:
        document = json.loads(path.read_bytes()) if path.is_file() and not path.is_symlink() else None
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _write(path: Path, document: Result) -> None:
    write_atomic(path, json.dumps(document.to_json(), ensure_ascii=False, indent=1).encode(), mode=0o640)
