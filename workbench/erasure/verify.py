"""Checks that trust nothing the execution said: the store and the checkpoints are read again (bytes: `byte_scan`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.data.objects import Objects
from workbench.data.store import Store
from workbench.errors import WorkbenchError
from workbench.sisa.ensemble import Manifest


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at, and what was found."""

    name: str
    ok: bool
    detail: str

    def to_json(self) -> dict[str, Any]:
        """The check as JSON."""
        return dict(self.__dict__)


def check_rows(store: Store, people: Sequence[tuple[bytes, int]]) -> Check:
    """No record of the subjects, given by token and shard point, is in the store."""
    left = sum(bool(store.splits_of(token, point)) for token, point in people)
    return Check(
        name="rows gone", ok=not left, detail=f"{left} of {len(people)} subjects still have rows in {store.name}"
    )


def check_isolation(before: Manifest, after: Manifest, retrained: Collection[int]) -> Check:
    """Constituents of untouched shards are the very same (promise P3)."""
    old = {c.shard: c for c in before.constituents}
    changed = [c.shard for c in after.constituents if c != old.get(c.shard) and c.shard not in retrained]
    kept = len(after.constituents) - len(retrained)
    return Check(name="untouched shards", ok=not changed, detail=f"{len(changed)} of {kept} reused constituents differ")


def check_objects(objects: Objects, digests: Iterable[str]) -> Check:
    """Every checkpoint is there and hashes to its name."""
    digests = sorted(digests)
    bad = [digest for digest in digests if not _readable(objects, digest)]
    return Check(name="checkpoints", ok=not bad, detail=f"{len(bad)} of {len(digests)} are missing or damaged")


def check_removed(objects: Objects, digests: Iterable[str]) -> Check:
    """Superseded checkpoints are gone."""
    digests = sorted(digests)
    left = [digest for digest in digests if objects.path(digest).exists()]
    return Check(
        name="superseded checkpoints gone", ok=not left, detail=f"{len(left)} of {len(digests)} are still there"
    )


def check_purged(root: Path, paths: Iterable[str]) -> Check:
    """Generators, releases and manifests that were to go are gone."""
    paths = sorted(paths)
    left = [path for path in paths if (root / path).exists()]
    return Check(name="purged files gone", ok=not left, detail=f"{len(left)} of {len(paths)} are still there")


def _readable(objects: Objects, digest: str) -> bool:
    try:
        objects.get(digest)
    except WorkbenchError:
        return False
    return True
