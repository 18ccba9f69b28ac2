"""What later pages import, fetched while nobody waits for it: once a process, after a first page was shown."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import lru_cache
from importlib import import_module

_LATER = (
    "workbench.workflows.operations.browser_files",
    "workbench.workflows.synthesis.preflight",
    "workbench.workflows.evaluation.report",
    "altair",
)


@lru_cache(maxsize=1)
def warm() -> threading.Thread:
    """Begins to import it, beside whatever else happens."""
    thread = threading.Thread(target=_fetch, name="warm", daemon=True)
    thread.start()
    return thread


def _fetch() -> None:
    for name in _LATER:
        with suppress(Exception):  # the page that needs it tells what is wrong
            import_module(name)
