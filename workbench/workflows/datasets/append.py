"""Adding rows to a data set, all or nothing.

The new file of every bucket that changes is written beside the data first; then one transaction announces the append, and
from that moment on it is carried through: whatever kills it, the next command that writes puts the files among the data and
switches all buckets to them at once. Killed before that moment, it never was.

What was learnt from the data set is older than the new rows from then on. Evaluations are purged: they no longer describe
the data. Ensembles stay in use and become stale: their lineage says, for each shard that new records fall into, the first
slice concerned (`pending`). An erasure that retrains such a shard begins there at the latest, so that the retrained shard is
once more what training from scratch on the records in the store gives.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, select

from workbench.data import catalog
from workbench.data.bucket_file import seal_key
from workbench.data.files import LocalFiles
from workbench.data.ingest_table import Ingested, KeyRing, ingest_table
from workbench.data.partition import Partition
from workbench.data.store import Split, Store, file_name, first_format_name
from workbench.erasure.plan import pending_of
from workbench.erasure.request import refuse_open_request
from workbench.erasure.suppression import refuse_erased_meanwhile
from workbench.errors import BusyError, InputError, WorkbenchError
from workbench.schema.schema import ROW_SUBJECT
from workbench.state import journal, lineage, writing
from workbench.state.atomic_files import remove, sync
from workbench.state.lineage import Artifact
from workbench.state.roles import internal
from workbench.state.tables import appends
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking, purge_runs
from workbench.workflows.datasets.same_people import Joined, join_people, record_people, refuse_names_in, tokens_of
from workbench.workflows.training.publish_version import current_versions, read_manifest

_PLACES = "places.npy"
Place = tuple[Split, int]


@internal
def append_rows(
    workspace: Workspace, dataset: str, sources: Any, ring: KeyRing, *, same_people: str | None = None
) -> tuple[Ingested, list[str]]:
    """Adds the rows of `sources` to a data set whose lock the caller holds; returns what came in and the stale ensembles.

    Raises InputError, with nothing changed, where a row breaks a rule together with the old ones, is of a person who was
    erased, or is of one who has rows under another population and no reason `same_people` is given; BusyError where an erasure
    request is open.
    """
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, dataset)
        refuse_open_request(connection, dataset, "no row is added")
    if store.schema.subject == ROW_SUBJECT:
        raise InputError(
            f"nothing can be added to data set {dataset}: its subjects are row numbers of its one ingest",
            hint="ingest the rows as a data set of their own, or declare a subject column",
        )
    with workspace.staging() as staging:
        (staging / "raw").mkdir()
        (staging / "out").mkdir()
        stored = ingest_table(
            dataset, store.schema, sources, ring, staging=staging / "raw", target=staging / "out", onto=store
        )
        if not stored.digests:
            return stored, []
        tokens = tokens_of(_taken(store, staging / "out", stored), before=store)
        refuse_names_in(ring, tokens, same_people)
        with workspace.engine.connect() as connection:
            joined = join_people(
                connection, workspace, dataset, Joined(store.schema), tokens, confirmed=same_people is not None
            )
        np.save(staging / "out" / _PLACES, np.unique(stored.places, axis=0), allow_pickle=False)
        _announce(workspace, dataset, staging / "out", stored, ring, joined, store, same_people)
    return stored, finish_append(workspace, dataset)


@internal
def finish_appends(workspace: Workspace) -> dict[str, WorkbenchError | OSError]:
    """Carries through every append that was interrupted; returns, by data set, the faults of those that can't be.

    One whose data set another process writes is left to that.
    """
    folder = workspace.root / "appends"
    begun = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    faults: dict[str, WorkbenchError | OSError] = {}
    for dataset in sorted(begun):
        try:
            with workspace.lock(dataset):
                finish_append(workspace, dataset)
        except BusyError:
            continue
        except (WorkbenchError, OSError) as fault:
            faults[dataset] = fault
    return faults


@internal
def finish_append(workspace: Workspace, dataset: str) -> list[str]:
    """Carries through the append of a data set whose lock the caller holds; returns the ensembles that became stale.

    Files that a killed writer left are removed, without an append too.
    """
    folder = _folder(workspace, dataset)
    with workspace.engine.connect() as connection:
        row = connection.execute(select(appends).where(appends.c.dataset == dataset)).one_or_none()
        if row is None:
            remove(folder)
            catalog.sweep_strays(connection, workspace, dataset)
            return []
        store = catalog.store(connection, workspace, dataset)
        evaluations = lineage.find(connection, dataset=dataset, kind="evaluation")
    announced = {_place(name): digest for name, digest in row.digests.items()}
    digests = _put(store, LocalFiles(folder), announced, seal_key(workspace.key("placement")))
    runs = [artifact.body["mlflow_run"] for artifact in evaluations if "mlflow_run" in artifact.body]
    purge_runs(Tracking(workspace.root), run_ids=runs)
    for path in (artifact.path for artifact in evaluations):
        if path is not None:
            remove(workspace.root / path)
    places = np.load(folder / _PLACES, allow_pickle=False)
    with writing(workspace.engine) as connection:
        for (split, bucket), digest in digests.items():
            catalog.record_bucket(connection, dataset, split, bucket, digest)
        lineage.remove(connection, [artifact.id for artifact in evaluations])
        current = current_versions(connection, dataset).values()
        stale = [_mark_stale(connection, a, read_manifest(workspace, a).partition, places) for a in current]
        connection.execute(appends.delete().where(appends.c.dataset == dataset))
        journal.append(connection, "APPENDED", dataset=dataset, stale=stale)
    remove(folder)
    with workspace.engine.connect() as connection:
        catalog.sweep_strays(connection, workspace, dataset)
    return stale


def _put(store: Store, staged: LocalFiles, announced: Mapping[Place, str], key: bytes) -> dict[Place, str]:
    """Put the files of an append among the data, whatever of them is there; return what each bucket is read from next.

    An earlier release staged files by their place, in the first format.
    """
    first_format = frozenset(place for place in announced if staged.exists(first_format_name(*place)))
    written: dict[tuple[str, int], str] = {(split, bucket): d for (split, bucket), d in announced.items()}
    before = Store(store.name, staged, store.schema, written, store.bits, first_format)
    digests = dict(announced)
    for place, digest in announced.items():
        table = before.bucket(*place)  # raises where it is damaged
        if table is not None and place in first_format:
            digests[place] = store.put(table, key)
        else:
            store.files.write(file_name(digest), staged.read(file_name(digest)))
    return digests


@internal
def first_slices(places: npt.NDArray[np.uint64], partition: Partition) -> dict[int, int]:
    """The first slice of each shard that any of the places (shard and slice points) falls into."""
    shards, slices = partition.shard_of(places[:, 0]), partition.slice_of(places[:, 1])
    order = np.lexsort([slices, shards])
    found, at = np.unique(shards[order], return_index=True)
    return dict(zip(found.tolist(), slices[order][at].tolist(), strict=True))


def _announce(
    workspace: Workspace,
    dataset: str,
    content: Path,
    stored: Ingested,
    ring: KeyRing,
    joined: Joined,
    store: Store,
    same_people: str | None,
) -> None:
    """Makes the append durable: from the end of this on it will be carried through."""
    folder = _folder(workspace, dataset)
    folder.parent.mkdir(exist_ok=True)
    remove(folder)
    content.rename(folder)
    try:
        _sync(folder)
        sync(folder.parent)
        with writing(workspace.engine) as connection:
            refuse_open_request(connection, dataset, "no row is added")
            refuse_erased_meanwhile(connection, ring)
            tokens = tokens_of(_taken(store, folder, stored), before=store)
            # once more, for what was written since
            joined = join_people(connection, workspace, dataset, joined, tokens, confirmed=same_people is not None)
            record_people(connection, dataset, joined, same_people)
            names = {f"{split}/{bucket}": digest for (split, bucket), digest in stored.digests.items()}
            connection.execute(appends.insert().values(dataset=dataset, digests=names))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _taken(store: Store, folder: Path, stored: Ingested) -> Store:
    """The buckets of a store that an append changes, as they are staged."""
    return Store(store.name, LocalFiles(folder), store.schema, stored.digests, store.bits)


def _sync(folder: Path) -> None:
    """Makes what is named in the folders durable; the bucket files themselves already are."""
    sync(folder / _PLACES)
    sync(folder)


def _mark_stale(connection: Connection, version: Artifact, partition: Partition, places: npt.NDArray[np.uint64]) -> str:
    """Adds to a version what its shards have not seen, in the caller's write transaction; returns the ensemble."""
    pending = pending_of(version)
    for shard, first in first_slices(places, partition).items():
        pending[shard] = min(first, pending.get(shard, first))
    lineage.amend(connection, version.id, stale=True, pending={str(s): f for s, f in sorted(pending.items())})
    return str(version.body["ensemble"])


def _folder(workspace: Workspace, dataset: str) -> Path:
    return workspace.root / "appends" / dataset


def _place(name: str) -> Place:
    split, _, bucket = name.partition("/")
    return ("train" if split == "train" else "holdout"), int(bucket)
