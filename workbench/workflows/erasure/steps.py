"""The steps of an erasure: drop rows, retrain, publish, purge, verify (`check_erasure`), shred.

A step may be repeated whole after a kill at any of its instants. Its end, and whatever else must become true at that very
moment, is one transaction: the step returns what it adds to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from pydantic import ValidationError
from sqlalchemy import Connection

from workbench.config import SynthesizeConfig, TrainConfig, stored_config
from workbench.data import catalog
from workbench.data.bucket_file import seal_key
from workbench.data.store import Store
from workbench.erasure import saga, vault
from workbench.erasure.environment import learnt_elsewhere
from workbench.erasure.plan import pending_of
from workbench.erasure.request import advance, lift, subjects_of
from workbench.erasure.saga import DatasetState, EnsembleState, Erasure, GeneratorState, artifact_to_json
from workbench.erasure.suppression import of_request
from workbench.errors import BudgetError, InputError
from workbench.progress import Progress
from workbench.sisa.ensemble import Manifest, constituent_id
from workbench.sisa.training import train_shard
from workbench.state import journal, lineage, writing
from workbench.state.atomic_files import remove, sha256
from workbench.state.lineage import Artifact
from workbench.state.roles import internal
from workbench.state.tables import suppressions
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking, find_runs, purge_runs
from workbench.workflows.erasure.check_erasure import verify
from workbench.workflows.synthesis.fit_release import make_release, record_release, remake_release, sweep_releases
from workbench.workflows.training.charge_shards import abstaining, charge_shards
from workbench.workflows.training.publish_version import evaluate, record_version, stray_runs, sweep, write_version
from workbench.workflows.training.train_shards import objects_of, train_shards

ERASURE_TAG = (
    "workbench.erasure"  # on every MLflow run an erasure makes: those of a try that was cut off are found by it
)

Commit = Callable[[Connection], None]
Json = Mapping[str, Any]  # of an artifact, as the erasure's state keeps it


@internal
def drop_rows(workspace: Workspace, erasure: Erasure, _: Progress) -> tuple[Erasure, Commit]:
    """Switches each bucket that the subjects are in to a file without them, then deletes the files that held them.

    It ends when no file is left of the data set but those that its buckets are read from: one that a killed writer left may
    hold the subjects too.
    """
    key = seal_key(workspace.key("placement"))
    with writing(workspace.engine) as connection:
        advance(connection, erasure.requests, "executing")
        subjects = subjects_of(connection, erasure.requests)
    for dataset, state in erasure.datasets.items():
        tokens = {subject.token for subject in subjects if subject.dataset == dataset}
        with workspace.engine.connect() as connection:
            store = catalog.store(connection, workspace, dataset)
        for split, bucket in state.drops:
            table = store.without(split, bucket, tokens)
            digest = None if table is None else store.put(table, key)
            with writing(workspace.engine) as connection:
                catalog.record_bucket(connection, dataset, split, bucket, digest)
        with workspace.engine.connect() as connection:
            catalog.sweep_strays(connection, workspace, dataset)
    return erasure, lambda connection: _journal(connection, "DROPPED", erasure)


@internal
def retrain(workspace: Workspace, erasure: Erasure, progress: Progress) -> tuple[Erasure, Commit]:
    """Retrains the affected shards and writes what takes the place of what is superseded; nobody uses it yet."""
    tracking = Tracking(workspace.root)
    purge_runs(tracking, run_ids=find_runs(tracking, tag=ERASURE_TAG, value=erasure.id))  # of a try that was cut off
    datasets = {}
    for dataset, state in erasure.datasets.items():
        with workspace.engine.connect() as connection:
            store = catalog.store(connection, workspace, dataset)
            live = {artifact.id: artifact for artifact in lineage.find(connection, dataset=dataset)}
        ensembles = [_successor(workspace, store, e, live, erasure.id, progress) for e in state.ensembles]
        purge = (*state.purge, *_superseded_too(state, ensembles, live))
        sweep_releases(workspace, dataset, fits=False)  # of a try that was cut off; its fits are paid for
        measured = [_measured_again(workspace, store, g, erasure.id, progress) for g in state.remeasure]
        datasets[dataset] = state.model_copy(
            update={"ensembles": tuple(ensembles), "remeasure": tuple(measured), "purge": purge}
        )
    return erasure.with_datasets(datasets), _nothing


def _measured_again(
    workspace: Workspace, store: Store, generator: GeneratorState, erasure_id: str, progress: Progress
) -> GeneratorState:
    """A generator fitted on what remains, charged anew if it is private; without a successor where that can't be."""

    def tell(fraction: float, what: str) -> None:
        progress(0.7 + 0.1 * fraction, what)

    try:
        config = stored_config(generator.config, SynthesizeConfig)
        make = partial(remake_release, old=generator.old, shards=generator.shards) if generator.shards else make_release
        release = make(workspace, store, config, tags={ERASURE_TAG: erasure_id}, progress=tell)
    except (BudgetError, ValidationError, InputError):
        return generator  # an erasure waits for no budget, for no other workbench's config and for no more rows
    return generator.model_copy(update={"artifacts": tuple(artifact_to_json(a) for a in release.artifacts)})


def _successor(
    workspace: Workspace,
    store: Store,
    ensemble: EnsembleState,
    live: Mapping[str, Artifact],
    erasure_id: str,
    progress: Progress,
) -> EnsembleState:
    before = ensemble.old
    config = stored_config(before.config, TrainConfig)

    def tell(fraction: float, what: str) -> None:
        progress(0.1 + 0.6 * fraction, f"retraining {what}")

    pending = pending_of(live[before.id])
    retrain = ensemble.retrain | _mend(workspace, store, config, before, ensemble.retrain, pending)
    retrain |= {shard: 0 for shard in retrain if _learnt_elsewhere(live, before, shard)}
    try:
        purpose = f"train {len(retrain)} of {config.shards} shards of {before.ensemble} again"
        charge_shards(workspace, store.schema, config, retrain, purpose=purpose)
        trained = train_shards(workspace, store, config, retrain, before, progress=tell)
    except BudgetError:
        trained = abstaining(before, retrain)  # an erasure waits for no budget
    manifest = before.successor({shard: t.constituent for shard, t in trained.items()})
    metrics = evaluate(workspace, store, manifest)
    version = write_version(
        workspace,
        Tracking(workspace.root),
        manifest,
        trained,
        metrics,
        schema=store.schema,
        train_run=live[before.id].body["train_run"],
        reused=[live[i] for i in live[before.id].derived_from if int(live[i].body["shard"]) not in trained],
        tags={ERASURE_TAG: erasure_id},
        pending={shard: first for shard, first in pending.items() if shard not in trained},
    )
    return ensemble.model_copy(
        update={
            "retrain": retrain,
            "after": manifest.to_bytes().decode(),
            "artifacts": tuple(artifact_to_json(a) for a in version.artifacts),
            "metrics": {name: estimate.to_json() for name, estimate in metrics.items()},
        }
    )


def _learnt_elsewhere(live: Mapping[str, Artifact], manifest: Manifest, shard: int) -> bool:
    """Whether other libraries trained a shard's checkpoints: going on from them would not be training from scratch here."""
    constituent = next(c for c in manifest.constituents if c.shard == shard)
    return learnt_elsewhere(live[constituent_id(manifest.ensemble, constituent)].body)


def _superseded_too(
    state: DatasetState, ensembles: Sequence[EnsembleState], live: Mapping[str, Artifact]
) -> Sequence[Json]:
    """Constituents that were not planned to be retrained but could not be mended."""
    return [
        artifact_to_json(live[constituent_id(after.old.ensemble, c)])
        for before, after in zip(state.ensembles, ensembles, strict=True)
        for c in after.old.constituents
        if c.shard in after.retrain and c.shard not in before.retrain
    ]


def _mend(
    workspace: Workspace,
    store: Store,
    config: TrainConfig,
    manifest: Manifest,
    retrain: Mapping[int, int],
    pending: Mapping[int, int],
) -> dict[int, int]:
    """Restores damaged checkpoints that the next version keeps: training their slices again gives the same bytes.

    But for private shards, and for those that received rows since (`pending`): returned are those that are trained again
    instead, with the first slice.
    """
    objects = objects_of(workspace, manifest.dataset)
    beyond: dict[int, int] = {}
    for constituent in manifest.constituents:
        kept = manifest.files(constituent, retrain.get(constituent.shard))
        if all(objects.holds(digest) for digest in kept):
            continue
        # Noise is never drawn twice: a private shard is trained anew, and charged. One file can't be mended in part
        if config.private or (constituent.sizes and constituent.shard in retrain.keys() | pending.keys()):
            beyond[constituent.shard] = 0
            continue
        records = store.read("train", manifest.partition.interval(constituent.shard))
        for model in train_shard(records, config, shard=constituent.shard):
            if model is not None and sha256(model) in kept:
                objects.put(model)
        if constituent.shard in pending.keys() - retrain.keys() and not all(objects.holds(digest) for digest in kept):
            beyond[constituent.shard] = manifest.restart(constituent.shard, pending[constituent.shard])
    return beyond


@internal
def publish(workspace: Workspace, erasure: Erasure, _: Progress) -> tuple[Erasure, Commit]:
    """The new versions become current and the quarantine ends, all at one moment."""
    with workspace.engine.connect() as connection:
        late = {name: _evaluated_since(connection, name, state) for name, state in erasure.datasets.items()}
    erasure = erasure.with_datasets(
        {
            name: state.model_copy(update={"purge": (*state.purge, *late[name])})
            for name, state in erasure.datasets.items()
        }
    )

    def commit(connection: Connection) -> None:
        for dataset, state in erasure.datasets.items():
            lineage.remove(connection, [artifact["id"] for artifact in state.purge])
            for e in state.ensembles:
                record_version(
                    connection,
                    e.new,
                    [Artifact(**artifact) for artifact in e.artifacts],
                    retrained=e.retrain,
                    requests=erasure.requests,
                )
            for generator in state.remeasure:
                record_release(connection, tuple(Artifact(**artifact) for artifact in generator.artifacts))
            lift(connection, dataset, erasure.requests)

    return erasure, commit


def _evaluated_since(connection: Connection, dataset: str, state: DatasetState) -> Sequence[Json]:
    """Evaluations that were made after the plan, beside the open requests, of what is purged now."""
    gone = {artifact["id"] for artifact in state.purge}
    found = [a for a in lineage.find(connection, dataset=dataset, kind="evaluation") if a.id not in gone]
    return [artifact_to_json(a) for a in found if not gone.isdisjoint(a.derived_from)]


@internal
def purge(workspace: Workspace, erasure: Erasure, progress: Progress) -> tuple[Erasure, Commit]:
    """Removes superseded checkpoints, manifests and MLflow entries, whatever of them is still there."""
    progress(0.8, "purging")
    datasets = {}
    for dataset, state in erasure.datasets.items():
        superseded = {d for a in state.purge for d in a["body"].get("checkpoints", ()) if d is not None}
        stray = sweep(workspace, dataset)
        sweep_releases(workspace, dataset)
        live = {d for e in state.ensembles for d in e.new.checkpoints()}
        for artifact in state.purge:
            if artifact["path"] is not None:
                remove(workspace.root / artifact["path"])
        bodies = [artifact["body"] for artifact in state.purge]
        purge_runs(
            Tracking(workspace.root),
            run_ids={body["mlflow_run"] for body in bodies if "mlflow_run" in body} | stray_runs(workspace, dataset),
            model_ids=[body["mlflow_model"] for body in bodies if body.get("mlflow_model")],
            registered=[tuple(body["registered"]) for body in bodies if "registered" in body],
        )
        datasets[dataset] = state.model_copy(update={"removed": tuple(sorted(stray | superseded - live))})
    return erasure.with_datasets(datasets), lambda connection: _journal(connection, "PURGED", erasure)


@internal
def shred(workspace: Workspace, erasure: Erasure, _: Progress) -> tuple[Erasure, Commit]:
    """Destroys what the requests knew of their people; a suppression token stays where the policy says so."""
    with workspace.engine.connect() as connection:  # before the write: requests by the hundred would hold others up
        known = {request: of_request(connection, request) for request in erasure.requests}
    rows = [
        {"token": token, "identity_type": identity_type, "request": request}
        for request, (tokens, keeps) in known.items()
        for identity_type, token in tokens
        if keeps
    ]

    def commit(connection: Connection) -> None:
        if rows:
            connection.execute(suppressions.insert().prefix_with("OR IGNORE"), rows)
        vault.destroy(connection, erasure.requests)

    return erasure, commit


def _journal(connection: Connection, kind: Literal["DROPPED", "PURGED"], erasure: Erasure) -> None:
    journal.append(connection, kind, erasure=erasure.id, requests=list(erasure.requests))


def _nothing(_: Connection) -> None:
    """Nothing but the step's end is to be recorded."""


Step = Callable[[Workspace, Erasure, Progress], tuple[Erasure, Commit]]
STEPS: dict[saga.Step, tuple[saga.Step, Step]] = {
    "planned": ("dropped", drop_rows),
    "dropped": ("retrained", retrain),
    "retrained": ("published", publish),
    "published": ("purged", purge),
    "purged": ("verified", verify),
    "verified": ("shredded", shred),
}
