"""The texts in JSON values, keys included, each with its place; numbers are not texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

Place = tuple[str | int, ...]


def texts_of(value: Any, place: Place = ()) -> Iterator[tuple[Place, str]]:
    """Yield all texts of a JSON value."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield (*place, key), str(key)
            yield from texts_of(inner, (*place, key))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from texts_of(inner, (*place, number))


def parsed(text: str) -> Iterator[tuple[Place, str]]:
    """Yield the texts in JSON, or in lines of it; what is no JSON is one text."""
    try:
        found = list(texts_of(json.loads(text)))
    except (ValueError, RecursionError):
        for number, line in enumerate(text.splitlines()):
            try:
                yield from list(texts_of(json.loads(line), (number,)))
            except (ValueError, RecursionError):
                yield (number,), line
    else:
        yield from found
