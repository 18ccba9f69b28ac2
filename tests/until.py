"""Waiting for what another process does: as long as it takes, and no longer than it lives."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

T = TypeVar("T")
GIVEN_UP = 900.0  # a busy machine must not fail a test; this only ends one that would hang


class Process(Protocol):
    """One that can be asked whether it has ended."""

    def poll(self) -> int | None: ...


def until(seen: Callable[[], T], process: Process | None = None) -> T:
    """Return what is seen once it is true; fail where the process that should bring it about has ended."""
    deadline = time.monotonic() + GIVEN_UP
    while not (found := seen()):
        assert process is None or process.poll() is None, f"the process ended with {process.poll()}"
        assert time.monotonic() < deadline, "what is waited for never came"
        time.sleep(0.02)
    return found
