"""Judging the hits of an erasure's byte scan by where they come from.

Chance is only what is learnt from other people's rows, and that is proved: the training is replayed on what the store holds,
without the person, and gives the very file. What somebody wrote is never chance; a person may accept it, with a reason.
Numbers in results that are differentially private can't be replayed, and are not searched for identifiers of digits alone;
texts among them are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from workbench.config import TrainConfig, stored_config
from workbench.data import catalog
from workbench.data.identity import identify
from workbench.data.store import Store
from workbench.erasure.byte_scan import BytesFound, Finding, Marks
from workbench.erasure.plan import pending_of
from workbench.erasure.private_numbers import is_number
from workbench.errors import WorkbenchError
from workbench.schema.schema import ROW_SUBJECT
from workbench.sisa.ensemble import Constituent, Manifest
from workbench.sisa.training import train_shard
from workbench.state import lineage
from workbench.state.atomic_files import file_sha256, sha256
from workbench.state.roles import internal
from workbench.state.workspace import Workspace
from workbench.workflows.synthesis.fit_release import private_fits
from workbench.workflows.training.publish_version import current_versions, read_manifest
from workbench.workflows.training.train_shards import objects_of

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
    whole = {
        finding.file: kept
        for finding in found.findings
        for kept in accepted
        if finding.unread and finding.unread.has_more and marks.recognises(finding, kept)
    }
    for finding in _searched(workspace, found.findings):
        kept = next((kept for kept in accepted if marks.recognises(finding, kept)), None)
        if finding.hit.where != "name":  # of more hits than are listed all are accepted with their file
            kept = kept or whole.get(finding.file)
        if kept is not None and not finding.is_strong:
            taken.append((finding, kept))
        elif not finding.is_strong and replays.prove(finding):
            chance.append(finding)
        else:
            left.append(finding)
    return Judged(left=tuple(left), chance=tuple(chance), accepted=tuple(taken))


def _searched(workspace: Workspace, findings: Sequence[Finding]) -> Iterator[Finding]:
    """All but digits of numbers in differentially private results that make an identifier of digits alone."""
    private: _Private | None = None
    for finding in findings:
        if _is_of_digits(finding):
            private = private or _Private.of(workspace)
            if private.holds(finding):
                continue
        yield finding


def _is_of_digits(finding: Finding) -> bool:
    inside = finding.hit.where in ("", "unpacked", "rows")
    return inside and not finding.is_strong and all(needle.isdigit() for needle in finding.needles)


@dataclass(frozen=True)
class _Private:
    """The files of differentially private results: those that have a digest, and folders of numbers."""

    root: Path
    digests: Mapping[str, str]
    folders: frozenset[str]
    sound: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, workspace: Workspace) -> _Private:
        """What artifacts, manifests and the notes of fits name."""
        with workspace.engine.connect() as connection:
            artifacts, versions = lineage.find(connection), current_versions(connection).values()
        recorded = [a for a in artifacts if a.kind in ("generator", "release") and a.body["private"] and a.path]
        digests = {str(a.path): a.digest for a in recorded if a.digest}
        for version in versions:
            with suppress(WorkbenchError, OSError):
                manifest = read_manifest(workspace, version)
                if stored_config(manifest.config, TrainConfig).private:
                    objects = objects_of(workspace, manifest.dataset)
                    digests |= {str(objects.path(d).relative_to(workspace.root)): d for d in manifest.objects()}
        folders = {str(a.path) for a in recorded if a.kind == "generator"} | private_fits(workspace)
        return cls(root=workspace.root, digests=digests, folders=frozenset(folders))

    def holds(self, finding: Finding) -> bool:
        """Whether a hit is in a file that is still what was recorded, or is a number in one that has no digest."""
        if finding.file in self.digests:
            if finding.file not in self.sound:
                path = self.root / finding.file
                self.sound[finding.file] = path.is_file() and file_sha256(path) == self.digests[finding.file]
            return self.sound[finding.file]
        inside = not self.folders.isdisjoint(map(str, PurePosixPath(finding.file).parents))
        return inside and is_number(self.root / finding.file, finding.hit, finding.needles)


@dataclass(frozen=True)
class _Replays:
    """Proves that a checkpoint is learnt from other people's rows: training on what is stored gives its digest."""

    workspace: Workspace
    people: Collection[Place]
    known: dict[str, bool] = field(default_factory=dict)

    def prove(self, finding: Finding) -> bool:
        """Whether a hit is in a checkpoint that replays without the person."""
        folder, *place = PurePosixPath(finding.file).parts
        if folder != "objects" or len(place) != 3 or finding.hit.where not in ("", "unpacked"):
            return False
        if finding.file not in self.known:
            self.known[finding.file] = self._replays(finding.file, place[0], place[-1])
        return self.known[finding.file] and self._is_elsewhere(place[0], finding.needles)

    def _replays(self, file: str, dataset: str, digest: str) -> bool:
        try:
            objects = objects_of(self.workspace, dataset)
            if self.workspace.root / file != objects.path(digest) or not objects.holds(digest):
                return False  # another file of that name, or a damaged one, is not what was learnt
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
    config = stored_config(manifest.config, TrainConfig)
    if config.private:
        return False
    records = store.read("train", manifest.partition.interval(constituent.shard))
    models = train_shard(records, config, shard=constituent.shard)
    return any(model is not None and sha256(model) == digest for model in models)
