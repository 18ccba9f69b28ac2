"""Verifying a certificate: offline by its signature, or against the workspace, or by training again and comparing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

from workbench.config import TrainConfig, stored_config
from workbench.data import catalog
from workbench.erasure.certificate import MOST_BYTES, open_signed
from workbench.erasure.environment import environment
from workbench.erasure.keys import read_public_key, trusted_keys
from workbench.erasure.plan import pending_of
from workbench.erasure.verify import Check, check_objects, check_removed
from workbench.errors import CheckFailedError, InputError, NotFoundError, WorkbenchError
from workbench.foreign import read_limited
from workbench.progress import Progress, silent
from workbench.sisa.ensemble import Manifest, version_id
from workbench.sisa.training import train_shard
from workbench.state import journal
from workbench.state.atomic_files import sha256
from workbench.state.roles import internal, open_to_all
from workbench.state.tables import journal as entries
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.results import Level, Verification
from workbench.workflows.erasure.signing_keys import settled
from workbench.workflows.training.publish_version import current_versions, read_manifest
from workbench.workflows.training.train_shards import objects_of

Statement = Mapping[str, Any]  # of a certificate, as it was signed
JOURNAL = "journal"
_VERSION = re.compile("(.*)@([0-9]{1,18})")


@open_to_all
def verify(
    workspace: Workspace | None,
    certificate: Path,
    *,
    key: Path | None = None,
    replay: bool = False,
    progress: Progress = silent,
) -> Verification:
    """What holds of a certificate, and at which level it was checked: `signature`, `workspace` or `replay`.

    The key is `key` alone, or else the workspace's own, of today or earlier; never one the certificate brings. Without a
    workspace only the signature is checked. `superseded_by` is the newest version of its ensembles where that is newer than
    the certificate's.
    """
    checks: list[Check] = []
    level: Level = "signature"
    superseded: int | None = None
    try:
        statement, signer = opened(workspace, certificate, key)
        checks.append(Check(name="signature", ok=True, detail=f"signed by {signer}"))
    except CheckFailedError as fault:
        return _report([Check(name="signature", ok=False, detail=str(fault))], level, None)
    if workspace is not None:
        level = "workspace"
        found, superseded, current = _against_workspace(workspace, statement)
        checks += found
        if replay:
            level = "replay"
            checks += _replay(workspace, statement, current, progress)
    return _report(checks, level, superseded)


@internal
def opened(workspace: Workspace | None, certificate: Path, key: Path | None) -> tuple[Statement, str]:
    """The statement of a certificate and who signed it: by `key` alone, or else by a key of the workspace, today's or not.

    Raises CheckFailedError where none of them did.
    """
    if not certificate.is_file():
        raise NotFoundError(f"no certificate at {certificate}")
    content = read_limited(certificate, most=MOST_BYTES, what="certificate")
    if key is not None:
        statement, signer = open_signed(content, [read_public_key(key)])
        return statement, f"the key given, {signer}"
    if workspace is None:
        raise InputError("there is neither a key nor a workspace to check against", hint="--key PUBLIC.pem")
    current, *earlier = trusted_keys(settled(workspace))
    statement, signer = open_signed(content, [current, *earlier])
    return statement, f"{'the current key' if signer == current.keyid else 'an earlier key,'} {signer}"


def _report(checks: list[Check], level: Level, superseded: int | None) -> Verification:
    is_valid = all(check.ok for check in checks)
    return Verification(valid=is_valid, level=level, superseded_by=superseded, checks=tuple(checks))


def _against_workspace(
    workspace: Workspace, statement: Statement
) -> tuple[list[Check], int | None, dict[str, Manifest]]:
    """Checks of the statement against journal, manifests and checkpoints; the superseding version; current manifests."""
    request = statement["predicate"]["request"]
    checks: list[Check] = []
    with workspace.engine.connect() as connection:
        broken = journal.broken_at(connection)
        rows = connection.execute(
            select(entries).where(entries.c.kind.in_(("PUBLISHED", "CERTIFIED", "RETIRED")))
        ).all()
        heads = set(connection.execute(select(entries.c.digest)).scalars())
        versions = current_versions(connection)
    detail = "every link holds" if broken is None else f"the chain breaks at entry {broken}"
    checks.append(Check(name="journal", ok=broken is None, detail=detail))
    certified = any(row.kind == "CERTIFIED" and row.body["request"] == request for row in rows)
    detail = (
        "the journal holds its certification" if certified else "the journal knows no certification of this request"
    )
    checks.append(Check(name="request", ok=certified, detail=detail))
    published = {
        version_id(row.body["ensemble"], row.body["version"]): row.body["digest"]
        for row in rows
        if row.kind == "PUBLISHED"
    }
    retired = {row.body["artifact"] for row in rows if row.kind == "RETIRED"}
    current: dict[str, Manifest] = {}
    superseded: int | None = None
    for subject in statement["subject"]:
        if subject["name"] == JOURNAL:  # a chain that was edited and linked anew has lost what was signed
            known = subject["digest"]["sha256"] in heads
            detail = "the signed entry is in it" if known else "the signed entry is not in it: it was rewritten"
            checks.append(Check(name="journal head", ok=known, detail=detail))
            continue
        version = _VERSION.fullmatch(subject["name"])
        if version is None:
            checks.append(Check(name="subject", ok=False, detail="a subject is not a version of an ensemble"))
            continue
        known = published.get(subject["name"]) == subject["digest"]["sha256"]
        detail = "published with this digest" if known else "the journal knows no such version"
        checks.append(Check(name=f"ensemble {subject['name']}", ok=known, detail=detail))
        ensemble, number = version.groups()
        if ensemble in retired:
            checks.append(Check(name=f"retired {ensemble}", ok=True, detail="it was withdrawn since"))
            continue
        if ensemble not in versions:
            checks.append(Check(name=f"ensemble {ensemble}", ok=False, detail="it is not in this workspace any more"))
            continue
        try:
            current[ensemble] = read_manifest(workspace, versions[ensemble])
        except WorkbenchError as fault:
            checks.append(Check(name=f"manifest {ensemble}", ok=False, detail=str(fault)))
            continue
        newest = current[ensemble].version
        if newest > int(number):
            superseded = max(superseded or 0, newest)
    live = {digest for manifest in current.values() for digest in manifest.objects()}
    removed = set(statement["predicate"]["removed_checkpoints"]) - live
    for manifest in current.values():
        checks.append(check_objects(objects_of(workspace, manifest.dataset), manifest.objects()))
    for dataset in sorted(basis["dataset"] for basis in statement["predicate"]["datasets"]):
        checks.append(check_removed(objects_of(workspace, dataset), removed))
    return checks, superseded, current


def _replay(
    workspace: Workspace, statement: Statement, current: dict[str, Manifest], progress: Progress
) -> list[Check]:
    """Trains the shards that the request touched again from nothing, on what the store holds now, and compares digests."""
    request, signed = statement["predicate"]["request"], statement["predicate"]["environment"]
    with workspace.engine.connect() as connection:
        rows = connection.execute(select(entries.c.body).where(entries.c.kind == "PUBLISHED")).scalars().all()
        pending = {name: pending_of(version) for name, version in current_versions(connection).items()}
    changed = sorted(name for name, value in environment().items() if signed.get(name) != value)
    detail = "the same" if not changed else f"other than when it was signed: {', '.join(changed)}"
    # Told, not judged: the digests decide
    checks = [Check(name="environment", ok=True, detail=detail)]
    for ensemble, manifest in current.items():
        shards = {
            s
            for body in rows
            if body["ensemble"] == ensemble and request in body["requests"]
            for s in body["retrained"]
        }
        if stored_config(manifest.config, TrainConfig).private:
            checks.append(_by_lineage(ensemble, manifest, shards))
            continue
        stale = {shard: first for shard, first in pending[ensemble].items() if shard in shards}
        differing = [s for s in sorted(shards) if not _same(workspace, manifest, s, stale.get(s), progress)]
        detail = (
            f"{len(differing)} of {len(shards)} constituents of version {manifest.version} differ from a fresh training"
        )
        if differing and changed:
            detail += f"; {', '.join(changed)} changed since it was signed, which alone can make them differ"
        if stale:
            detail += f"; {len(stale)} of them compared only before the slice that received rows since it was trained"
        checks.append(Check(name=f"replay {ensemble}", ok=not differing, detail=detail))
    return checks


def _by_lineage(ensemble: str, manifest: Manifest, shards: Collection[int]) -> Check:
    """Noise is kept nowhere, so no private training can be replayed; its constituents are others than the person was in."""
    old = [c.shard for c in manifest.constituents if c.shard in shards and c.generation < 2]
    detail = (
        f"differentially private, so not replayed: by its lineage {len(shards) - len(old)} of {len(shards)} constituents of "
        f"version {manifest.version} were trained anew, or abstain"
    )
    return Check(name=f"lineage {ensemble}", ok=not old, detail=detail)


def _same(workspace: Workspace, manifest: Manifest, shard: int, upto: int | None, progress: Progress) -> bool:
    """Whether training a shard from nothing gives the checkpoints that the manifest names, or those before slice `upto`."""
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, manifest.dataset)
    records = store.read("train", manifest.partition.interval(shard))
    digests = []
    for model in train_shard(records, stored_config(manifest.config, TrainConfig), shard=shard):
        digests.append(None if model is None else sha256(model))
        progress(len(digests) / manifest.partition.n_slices, f"shard {shard}")
    constituent = next(c for c in manifest.constituents if c.shard == shard)
    return tuple(digests[:upto]) == constituent.checkpoints[:upto]
