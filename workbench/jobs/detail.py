"""What lies behind a job's progress, told by whatever does the work: numbers of parts and how far each is, and of no person.

Who listens is a context variable, as the actor is: work may be done by a job or by nobody's, and most of it tells nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

MOST_SHARDS = 400  # of which it is told, and drawn, how far they are
NEW = "new"  # what an ensemble is called while its first version is trained
Look = Callable[[], Mapping[str, Any]]
_looks: ContextVar[dict[str, Look] | None] = ContextVar("looks", default=None)


@contextmanager
def listening(looks: dict[str, Look]) -> Iterator[None]:
    """Has what is told within the block be put into `looks`, by name."""
    token = _looks.set(looks)
    try:
        yield
    finally:
        _looks.reset(token)


def tell(name: str, look: Look) -> None:
    """Says by which function the state of a part of the work is seen; another thread calls it whenever it is wanted."""
    looks = _looks.get()
    if looks is not None:
        looks[name] = look


def seen(looks: Mapping[str, Look]) -> dict[str, Any]:
    """The state of each part now."""
    return {name: dict(look()) for name, look in list(looks.items())}
