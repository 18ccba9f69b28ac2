"""Numerical libraries held to one thread: several give other last bits, and on a shard's table mostly wait for each other."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[Any]:
    """Hold every numerical library that is loaded to one thread, for a while."""
    controller: AbstractContextManager[Any] = _controller(len(sys.modules)).limit(limits=1)
    return controller


@lru_cache(maxsize=1)
def _controller(_modules: int) -> ThreadpoolController:
    """Find the libraries, which takes longer than most fits: again only once a module, and so maybe a library, has come."""
    return ThreadpoolController()
