"""Reading the body of a call: bounded in bytes and time while it arrives, and strict JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from fastapi import Request

from workbench.api.fault import RefusedCallError
from workbench.errors import InputError
from workbench.foreign import parse_json

Read = Callable[[Request], Awaitable[bytes]]
Cell = str | float | bool | None


def reader(most: int, seconds: float) -> Read:
    """A dependency that reads at most `most` bytes of JSON within so many seconds; all else is refused as it arrives."""

    async def read(request: Request) -> bytes:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise RefusedCallError(415, "media_type", "the body is not application/json")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise RefusedCallError(415, "media_type", "the body is packed")
        length = request.headers.get("content-length", "0")
        if length.isdigit() and int(length) > most:
            raise _too_large(most)
        content = bytearray()
        try:
            with anyio.fail_after(seconds):
                async for piece in request.stream():
                    content += piece
                    if len(content) > most:
                        raise _too_large(most)
        except TimeoutError:
            raise RefusedCallError(408, "slow", f"the body took longer than {seconds:g} seconds") from None
        return bytes(content)

    return read


def rows_of(body: bytes, most: int) -> list[dict[str, Cell]]:
    """The records of a body {"rows": [{column: value}]}; raises InputError, quoting nothing, for anything else."""
    document = parse_json(body, what="the body")
    rows = document.get("rows") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not 1 <= len(rows) <= most:
        raise InputError(f"the body does not hold 1 to {most:,} rows", hint='{"rows": [{"column": "value"}]}')
    for row in rows:
        if not isinstance(row, dict) or any(isinstance(cell, list | dict) for cell in row.values()):
            raise InputError("a row is not an object of texts, numbers, booleans and nulls")
    return rows


def _too_large(most: int) -> RefusedCallError:
    return RefusedCallError(413, "too_large", f"the body has more than {most:,} bytes")
