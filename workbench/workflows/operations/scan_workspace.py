"""Searching everything the workspace keeps for what should not be there."""

from __future__ import annotations

import time
from collections.abc import Sequence

from workbench.bytescan.folders import DEPTH, scan_folder, spellings
from workbench.data.identity import canonical
from workbench.errors import InputError
from workbench.state.roles import allowed
from workbench.state.workspace import Workspace
from workbench.workflows.operations.results import Excluded, ScanResult

EXCLUDED = {
    "what is encrypted": "the boxes of open requests are sealed on purpose",
    "numbers stored in binary": "a text search does not know them; identifiers are never stored as numbers here",
    "tokens of people": "they are keyed hashes; erasing someone searches for theirs too",
    "copies elsewhere": "backups, exports and releases that left the workspace",
}


@allowed("operate")
def scan(workspace: Workspace, texts: Sequence[str]) -> ScanResult:
    """Where any of the texts is, in whatever spelling, in files, logs and database pages of workspace and MLflow store.

    A place whose name holds one is told by its folder alone. `clean` only where everything could be read to its end.
    """
    needles = {form.encode() for text in texts for form in (text, canonical(text)) if form.strip()}
    if not needles:
        raise InputError(
            "there is nothing to look for: the workspace keeps no identifier that it could look for by itself",
            hint="--for TEXT; --for - reads one text per line from standard input and keeps them out of the process list",
        )
    started = time.perf_counter()
    found = scan_folder(workspace.root, {spelling for needle in needles for spelling in spellings(needle)})
    return ScanResult(
        summary=f"{len(found.hits)} hits in {found.files} files, {found.pages} pages",
        clean=not found.hits and not found.unread,
        hits=tuple(_told(place, needles) for place in found.hits),
        unread=tuple(_told(place, needles) for place in found.unread),
        files=found.files,
        pages=found.pages,
        excluded=tuple(Excluded(what=what, why=why) for what, why in (EXCLUDED | _depth()).items()),
        seconds=round(time.perf_counter() - started, 3),
    )


def _depth() -> dict[str, str]:
    return {
        f"what is packed more than {DEPTH} times": "named under unread, as is whatever is damaged or unpacks too far"
    }


def _told(place: str, needles: set[bytes]) -> str:
    """A place as it may be shown: not the names that hold what was looked for."""
    parts = [
        "(its name holds it)" if any(needle in part.encode(errors="replace") for needle in needles) else part
        for part in place.split("/")
    ]
    return "/".join(parts).encode(errors="replace").decode()
