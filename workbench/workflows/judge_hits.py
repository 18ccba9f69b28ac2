"""Judging the hits of an erasure's byte scan by where they come from.

Chance is only what is learnt from other people's rows, and that is proved: the training is replayed on what the store holds,
without the person, and gives the very file. What somebody wrote is never chance; a person may accept it, with a reason.
Numbers in results that are differentially private can't be replayed, and are not searched for identifiers of digits alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from workbench import lineage
from workbench.config import TrainConfig
from workbench.data import catalog
from workbench.data.identity import identify
from workbench.data.store import Store
from workbench.erasure.byte_scan import BytesFound, Finding, Marks
from workbench.erasure.plan import pending_of
from workbench.errors import WorkbenchError
from workbench.files import sha256
from workbench.roles import internal
from workbench.schema.schema import ROW_SUBJECT
from workbench.sisa.ensemble import Constituent, Manifest
from workbench.sisa.training import train_shard
from workbench.workflows.publish import current_versions, read_manifest
from workbench.workflows.train_shards import objects_of
from workbench.workspace import Workspace

Place = tuple[bytes, int]  # a token and its shard point


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The hits that are left, those proved to be chance, and those that a person accepted, as they were accepted."""

    left: tuple[Finding, ...]
    chance: tuple[Finding, ...]
    accepted: tuple[tuple[Finding, Mapping[str, Any]], ...]


@internal
def judge(
    workspace: Workspace,
    found: BytesFound,
    *,
    people: Collection[Place],
    accepted: Sequence[Mapping[str, Any]] = (),
) -> Judged:
    """Sorts what a scan found; `people` are those to be erased, `accepted` the hits a person accepted (`Marks.of`)."""
    marks, replays = Marks(workspace.key("token")), _Replays(workspace, people)
    left: list[Finding] = []
    chance: list[Finding] = []
    taken: list[tuple[Finding, Mapping[str, Any]]] = []
    for finding in _searched(workspace, found.findings):
        kept = next((kept for kept in accepted if marks.recognises(finding, kept)), None)
        if kept is not None and not finding.is_strong:
            taken.append((finding, kept))
        elif not finding.is_strong and replays.prove(finding):
            chance.append(finding)
        else:
            left.append(finding)
    return Judged(left=tuple(left), chance=tuple(chance), accepted=tuple(taken))


def _searched(workspace: Workspace, findings: Sequence[Finding]) -> Iterator[Finding]:
    """All but digits in differentially private results that make an identifier of digits alone."""
    private: frozenset[str] | None = None
    for finding in findings:
        if not finding.is_strong and finding.hit.where != "name" and all(n.isdigit() for n in finding.needles):
            private = frozenset(_private(workspace)) if private is None else private
            place = PurePosixPath(finding.file)
            if any(str(parent) in private for parent in (place, *place.parents)):
                continue
        yield finding


def _private(workspace: Workspace) -> Iterator[str]:
    """The files and folders that hold differentially private results."""
    yield "fits"  # what private fits measured so far
    with workspace.engine.connect() as connection:
        artifacts, versions = lineage.find(connection), current_versions(connection).values()
    for artifact in artifacts:
        if artifact.kind in ("generator", "release") and artifact.body["private"] and artifact.path:
            yield artifact.path
    for version in versions:
        with suppress(WorkbenchError, OSError):
            manifest = read_manifest(workspace, version)
            if TrainConfig.model_validate(manifest.config).private:
                for digest in manifest.objects():
                    yield str(objects_of(workspace, manifest.dataset).path(digest).relative_to(workspace.root))


@dataclass(frozen=True)
class _Replays:
    """Proves that a checkpoint is learnt from other people's rows: training on what is stored gives its digest."""

    workspace: Workspace
    people: Collection[Place]
    known: dict[str, bool] = field(default_factory=dict)

    def prove(self, finding: Finding) -> bool:
        """Whether a hit is in a checkpoint that replays without the person."""
        folder, *place = PurePosixPath(finding.file).parts
        if folder != "objects" or len(place) < 2 or finding.hit.where not in ("", "unpacked"):
            return False
        if finding.file not in self.known:
            self.known[finding.file] = self._replays(place[0], place[-1])
        return self.known[finding.file] and self._is_elsewhere(place[0], finding.needles)

    def _replays(self, dataset: str, digest: str) -> bool:
        try:
            if not objects_of(self.workspace, dataset).holds(digest):  # a damaged file is not what was learnt
                return False
            with self.workspace.engine.connect() as connection:
                store = catalog.store(connection, self.workspace, dataset)
                versions = list(current_versions(connection, dataset).values())
            for version in versions:
                manifest, pending = read_manifest(self.workspace, version), pending_of(version)
                trained = [c for c in manifest.constituents if digest in manifest.files(c) and c.shard not in pending]
                if any(_trained_again(store, manifest, constituent, digest) for constituent in trained):
                    return True
        except (WorkbenchError, OSError):
            pass  # nothing is proved
        return False

    def _is_elsewhere(self, dataset: str, identifiers: Collection[bytes]) -> bool:
        """Whether nobody of those to be erased, and nobody whose identifier it is, has a row that the model was trained on."""
        with self.workspace.engine.connect() as connection:
            entry = catalog.entry(connection, dataset)
            store = catalog.store(connection, self.workspace, dataset)
        places = set(self.people)
        if entry.schema.subject != ROW_SUBJECT:
            ids = identify(
                [identifier.decode() for identifier in identifiers],
                identity_type=entry.schema.identity_type,
                token_key=self.workspace.key("token"),
                placement_key=self.workspace.key("placement"),
            )
            places |= set(zip(ids.tokens, map(int, ids.points), strict=True))
        try:
            return not any("train" in store.splits_of(token, point) for token, point in places)
        except (WorkbenchError, OSError):
            return False


def _trained_again(store: Store, manifest: Manifest, constituent: Constituent, digest: str) -> bool:
    config = TrainConfig.model_validate(manifest.config)
    if config.private:
        return False
    records = store.read("train", manifest.partition.interval(constituent.shard))
    models = train_shard(records, config, shard=constituent.shard)
    return any(model is not None and sha256(model) == digest for model in models)
