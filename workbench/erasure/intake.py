"""What a file of erasure requests asks for: keys as text, CSV or JSON lines, or OpenDSR 2.0 requests. Pure.

- Nothing a file holds makes it raise anything but InputError (the file as a whole is none of these), whatever its bytes.
- An entry that can't be a request is `Malformed`, with its line and a reason that never quotes it; the others still count.
- The request ids of one file are different, so no entry hides behind another's.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import unicodedata
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from typing import Any, NoReturn

from workbench.data.identity import canonical
from workbench.errors import InputError
from workbench.foreign import parse_json, text_of
from workbench.state.workspace import check_name

MAX_BYTES = 10_000_000
MAX_REQUESTS = 10_000
MAX_KEY = 1_000
MAX_IDENTITIES = 100
_COLUMNS = ("key", "request_id", "dataset")
_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """One identifier; `type` says what kind it is where the format tells, and so which data sets it is about."""

    value: str
    type: str | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as its file states it: a person by one identifier or by several. Equal where it asks the same."""

    identities: tuple[Identity, ...]
    request_id: str | None = None
    dataset: str | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, kw_only=True)
class Malformed:
    """An entry that is no request, and why; it quotes nothing of it."""

    line: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Intake:
    """All that a file asks for."""

    asked: tuple[Asked, ...]
    malformed: tuple[Malformed, ...]


class _EntryError(Exception):
    """Why an entry is malformed."""


_Entry = Callable[[], Asked]


def by_key(key: str) -> Asked:
    """The request for one key given by hand."""
    return Asked(identities=(Identity(value=key),))


def ending_of(name: str) -> str | None:
    """The ending that tells a file's format, or None where its name tells none."""
    ending = PurePath(name).suffix.lower()
    return ending if ending in _READERS else None


def parse(content: bytes, ending: str | None = None) -> Intake:
    """The requests of a file; without an `ending` its first characters tell the format.

    Raises InputError where the file as a whole is too large, not UTF-8, or not of its format.
    """
    if len(content) > MAX_BYTES:
        raise InputError(f"the file is larger than {MAX_BYTES // 1_000_000} MB", hint="split it")
    text = text_of(content, what="the file of keys", hint="convert it, for example with iconv")
    asked: list[Asked] = []
    malformed: list[Malformed] = []
    for line, entry in _READERS[ending or _sniffed(text)](text):
        if len(asked) + len(malformed) == MAX_REQUESTS:
            raise InputError(f"the file holds more than {MAX_REQUESTS:,} requests", hint="split it")
        try:
            asked.append(entry())
        except _EntryError as fault:
            malformed.append(Malformed(line=line, reason=str(fault)))
    return _distinct(asked, malformed)


def parse_open_dsr(content: bytes) -> tuple[Asked, dict[str, Any]]:
    """The one OpenDSR 2.0 request of a body, and the object it is; raises InputError, quoting nothing, for anything else."""
    text = text_of(content, what="the request")
    try:
        document = _loads(text)
        return _of_open_dsr(document, 1), document
    except _EntryError as fault:
        raise InputError(f"this is no OpenDSR request: {fault}", hint="see /openapi.json") from None


def _distinct(asked: Sequence[Asked], malformed: Sequence[Malformed]) -> Intake:
    """A request id that comes twice would be answered as one request, so the second is malformed."""
    first: dict[str, int] = {}
    kept, repeated = [], []
    for one in asked:
        before = first.setdefault(one.request_id, one.line) if one.request_id else one.line
        if before == one.line:
            kept.append(one)
        else:
            repeated.append(Malformed(line=one.line, reason=f"its request_id is that of line {before}"))
    return Intake(asked=tuple(kept), malformed=tuple(sorted([*malformed, *repeated], key=lambda m: m.line)))


def _sniffed(text: str) -> str:
    start = text.lstrip()
    if start.startswith(("{", "[")):
        return ".jsonl" if _is_lines(start) else ".json"
    return ".csv" if _header(text) else ".txt"


def _is_lines(text: str) -> bool:
    """Whether the first line is a JSON object of its own that names a key."""
    try:
        first = _loads(text.splitlines()[0])
    except _EntryError:
        return False
    return isinstance(first, dict) and "key" in first


def _text(text: str) -> Iterator[tuple[int, _Entry]]:
    for line, key in _lines(text):
        yield line, partial(_asked, key, line=line)


def _json_lines(text: str) -> Iterator[tuple[int, _Entry]]:
    for line, document in _lines(text):
        yield line, partial(_of_object, document, line)


def _of_object(text: str, line: int) -> Asked:
    document = _loads(text)
    if not isinstance(document, dict) or "key" not in document:
        raise _EntryError("it is not a JSON object with a key")
    return _asked(*(document.get(name) for name in _COLUMNS), line=line)


def _csv(text: str) -> Iterator[tuple[int, _Entry]]:
    delimiter, names = _header(text) or (",", ())
    if names and names[0] in _COLUMNS[1:] and "key" not in names:
        raise InputError("the CSV header names no key column", hint="key, and if you like request_id and dataset")
    places = {name: names.index(name) for name in _COLUMNS if name in names} | ({} if "key" in names else {"key": 0})
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    width, line = 0, 1
    try:
        for number, row in enumerate(reader):
            width = width or len(row)
            if any(cell.strip() for cell in row) and not (names and number == 0):
                yield line, partial(_of_row, row, places, width, line)
            line = reader.line_num + 1
    except csv.Error:
        raise InputError(f"the CSV can't be read from line {line} on", hint="look for an open quote") from None


def _of_row(row: Sequence[str], places: dict[str, int], width: int, line: int) -> Asked:
    if len(row) != width:
        raise _EntryError(f"it has {len(row)} cells where the first line has {width}; quote a key that holds a comma")
    cells = {name: row[place].strip() for name, place in places.items()}
    if cells["key"].startswith("="):
        raise _EntryError("it is a spreadsheet's formula; export the values")
    return _asked(cells["key"], cells.get("request_id") or None, cells.get("dataset") or None, line=line)


def _header(text: str) -> tuple[str, tuple[str, ...]] | None:
    """The delimiter and the names of a header, where the first line is one."""
    first = next(iter(text.split("\n", 1)), "")[: 10 * MAX_KEY]
    for delimiter in ",;\t":
        names = tuple(cell.strip().strip('"').lower() for cell in first.split(delimiter))
        if set(names) & set(_COLUMNS):
            return delimiter, names
    return None


def _open_dsr(text: str) -> Iterator[tuple[int, _Entry]]:
    try:
        document = _loads(text)
    except _EntryError as fault:
        raise InputError(f"the file can't be read: {fault}") from None
    for number, one in enumerate(document if isinstance(document, list) else [document], start=1):
        yield number, partial(_of_open_dsr, one, number)


def _of_open_dsr(document: Any, number: int) -> Asked:
    """A request by OpenDSR 2.0, "Data Subject Request": its fields and nothing else are looked at."""
    if not isinstance(document, dict):
        raise _EntryError("it is not a JSON object")
    if document.get("subject_request_type") != "erasure":
        raise _EntryError("its subject_request_type is not erasure")
    if not isinstance(document.get("regulation"), str) or not document["regulation"].strip():
        raise _EntryError("it names no regulation")
    if document.get("api_version") != "2.0":
        raise _EntryError("its api_version is not 2.0")
    _require_time(document.get("submitted_time"))
    identities = document.get("subject_identities")
    if not isinstance(identities, list) or not 1 <= len(identities) <= MAX_IDENTITIES:
        raise _EntryError(f"its subject_identities are not a list of 1 to {MAX_IDENTITIES}")
    return Asked(
        identities=tuple(dict.fromkeys(map(_identity, identities))),
        request_id=_uuid4(document.get("subject_request_id")),
        line=number,
    )


def _identity(document: Any) -> Identity:
    if not isinstance(document, dict):
        raise _EntryError("an identity is not a JSON object")
    if document.get("identity_format") != "raw":
        raise _EntryError("an identity_format is not raw")
    kind = document.get("identity_type")
    if not isinstance(kind, str) or not _TYPE.fullmatch(kind):
        raise _EntryError("an identity_type is not a usable name")
    return Identity(value=_key(document.get("identity_value")), type=kind)


def _require_time(value: Any) -> None:
    try:
        if dt.datetime.fromisoformat(value).tzinfo is not None:
            return
    except (TypeError, ValueError):
        pass
    raise _EntryError("its submitted_time is not a time with its zone, such as 2026-01-31T12:00:00Z")


def _uuid4(value: Any) -> str:
    try:
        request = uuid.UUID(value) if isinstance(value, str) else None
    except ValueError:
        request = None
    if request is None or request.version != 4 or str(request) != value.lower():
        raise _EntryError("its subject_request_id is not a UUID of version 4")
    return str(request)


def _asked(key: Any, request_id: Any = None, dataset: Any = None, *, line: int) -> Asked:
    return Asked(
        identities=(Identity(value=_key(key)),),
        request_id=_name(request_id, "request_id"),
        dataset=_name(dataset, "dataset"),
        line=line,
    )


def _key(value: Any) -> str:
    """A key as one line of text; whole numbers count, other values are somebody's mistake."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise _EntryError("its key is neither text nor a whole number")
    key = canonical(value)
    if not key:
        raise _EntryError("its key is blank")
    if len(key) > MAX_KEY:
        raise _EntryError(f"its key has more than {MAX_KEY:,} characters")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in key):
        raise _EntryError("its key holds a control character")
    return key


def _name(value: Any, what: str) -> str | None:
    if value is None:
        return None
    try:
        return check_name(value, what) if isinstance(value, str) else _refuse(what)
    except InputError:  # its message quotes the name, which may be a key in the wrong column
        _refuse(what)


def _refuse(what: str) -> NoReturn:
    raise _EntryError(f"its {what} is not a usable name: letters, digits, dot, dash, underscore; at most 64")


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, numbered from 1; a key may hold Unicode's rarer line ends."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return ((number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip())


def _loads(text: str) -> Any:
    try:
        return parse_json(text, what="it")
    except InputError as fault:
        raise _EntryError(str(fault)) from None


_READERS: dict[str, Callable[[str], Iterator[tuple[int, _Entry]]]] = {
    ".txt": _text,
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".json": _open_dsr,
}
