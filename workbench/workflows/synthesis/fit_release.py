"""Fitting a generator and writing its release: what a first synthesis and an erasure that measures again have in common.

A private fit is noted as it goes, in `fits/`, until its release is recorded: killed, cancelled or failed, it goes on from there
and is not charged again.
"""

from __future__ import annotations

import json
import resource
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Connection

from workbench.config import MAX_ROWS, SynthesizeConfig
from workbench.data import catalog
from workbench.data.dataset import Dataset
from workbench.data.partition import Partition
from workbench.data.store import Store
from workbench.errors import BudgetError, InputError
from workbench.generators.generator import FittedGenerator, Generator
from workbench.generators.marginals.measurement_log import UnusableNotesError
from workbench.generators.marginals.table import FittedTable, MarginalGenerator
from workbench.generators.registry import check_size, generator_of, load_generator
from workbench.privacy.events import event_to_json
from workbench.privacy.ledger import Ledger
from workbench.progress import FitProgress, Progress, silent
from workbench.schema import Codec
from workbench.state import journal, lineage
from workbench.state.atomic_files import file_sha256, remove, sha256, sync, write_atomic
from workbench.state.lineage import Artifact
from workbench.state.roles import internal
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking
from workbench.workflows.synthesis.fit_runs import begin_runs, budget_of, end_runs, fail_runs, live
from workbench.workflows.synthesis.release_figures import figures_of
from workbench.workflows.synthesis.release_files import fits_of, unrecorded
from workbench.workflows.synthesis.results import Figures
from workbench.workflows.synthesis.sample import write_rows


@dataclass(frozen=True, kw_only=True)
class Release:
    """A generator with its release and evaluation, written but not yet in the database; their MLflow runs are open."""

    generator: str
    path: Path
    rows: int
    figures: Figures
    artifacts: tuple[Artifact, ...]

    @property
    def runs(self) -> tuple[str, ...]:
        """MLflow runs that belong to it: the fit, then the evaluation."""
        return tuple(dict.fromkeys(artifact.body["mlflow_run"] for artifact in self.artifacts))


@internal
def make_release(
    workspace: Workspace,
    store: Store,
    config: SynthesizeConfig,
    *,
    tags: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Release:
    """Charges the ledger if the generator is private, fits it, writes a release and how good it is; the caller records it.

    Raises BudgetError before anything is read. `tags` go on every MLflow run it makes, so that a try that was cut off can be
    found; they are open until `end_runs`, and the fit's is there from the beginning. Where it does not come to its end, what
    it wrote is removed; what it charged stays charged, and the notes of a private fit stay with the charge.
    """
    check_size(config, Codec(store.schema))
    Tracking(workspace.root).require()  # before the charge
    generator = generator_of(config)
    fit = _begin(workspace, store, config, generator)
    if config.private and not fit.charged:
        _charge(workspace, store, generator, fit)
    began, runs = time.perf_counter(), begin_runs(workspace, config, fit.name, tags or {})

    def tell(fraction: float, text: str) -> None:
        progress(0.8 * fraction, text)

    try:
        fitted, records = _fitted(generator, store, fit.folder / "notes.jsonl", live(workspace, runs[0], tell))
        return finish_release(
            workspace, store, config, fit.name, fitted, records, runs=runs, began=began, progress=progress
        )
    except UnusableNotesError:
        forget_fit(workspace, fit.name)
        discard_release(workspace, config, fit.name, runs)
        raise
    except BaseException:
        discard_release(workspace, config, fit.name, runs)
        raise


def _fitted(generator: Generator, store: Store, notes: Path, progress: FitProgress) -> tuple[FittedGenerator, Dataset]:
    """Fit a generator and return it with the records: one of marginals counts them file by file, before they are read."""
    if isinstance(generator, MarginalGenerator):
        return generator.fit(store, notebook=notes, progress=progress), store.read("train")
    records = store.read("train")
    return generator.fit(records, notebook=notes, progress=progress), records


def _charge(workspace: Workspace, store: Store, generator: Generator, fit: _Fit) -> None:
    try:
        Ledger(workspace.engine).charge(
            store.schema.population, generator.event, dataset=store.name, purpose=fit.purpose
        )
    except BudgetError:
        forget_fit(workspace, fit.name)
        raise


@internal
def remake_release(
    workspace: Workspace,
    store: Store,
    config: SynthesizeConfig,
    *,
    old: str,
    shards: Sequence[int],
    tags: Mapping[str, str] | None = None,
    progress: Progress = silent,
) -> Release:
    """Measures some shards of a sharded generator again, charging their subjects alone, and makes a release of the result.

    Raises BudgetError before anything is read. The measurements of the other shards are used as they are.
    """
    fitted = load_generator(config.generator, _folder(workspace, old), Codec(store.schema))
    if not isinstance(fitted, FittedTable):
        raise InputError(f"{old} is not a generator of measured marginals", hint=f"workbench retire {old}")
    Tracking(workspace.root).require()  # before the charge
    name = _new_name(workspace, config)
    partition = Partition(n_shards=config.shards, n_slices=1)
    Ledger(workspace.engine).charge(
        store.schema.population,
        fitted.remeasure_event,
        dataset=config.dataset,
        purpose=f"measure {len(shards)} of {config.shards} shards again for {name}",
        scope=[partition.interval(shard) for shard in sorted(shards)],
        identity_type=store.schema.identity_type,
    )
    began, runs = time.perf_counter(), begin_runs(workspace, config, name, tags or {})
    try:
        fresh = fitted.remeasured(store, shards, progress=progress)
        records = store.read("train")
        return finish_release(workspace, store, config, name, fresh, records, runs=runs, began=began, progress=progress)
    except BaseException:
        discard_release(workspace, config, name, runs)
        raise


@internal
def finish_release(
    workspace: Workspace,
    store: Store,
    config: SynthesizeConfig,
    name: str,
    fitted: FittedGenerator,
    records: Dataset,
    *,
    runs: tuple[str, str],
    began: float,
    progress: Progress = silent,
) -> Release:
    """Writes a fitted generator, its release and how near that comes to the records it was fitted to."""
    rows = config.rows or min(max(1, round(fitted.total)), MAX_ROWS)  # noise alone may be more
    progress(0.85, f"sampling {rows:,} rows")
    path = _write(workspace, name, fitted, Codec(store.schema), rows, progress)
    progress(0.9, "evaluating")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cost = {"seconds": round(time.perf_counter() - began, 3), "peak_mb": round(peak)}
    figures = figures_of(records, store.read("holdout"), path)
    with workspace.engine.connect() as connection:
        version = catalog.version(connection, store.name)
    artifacts = _describe(config, name, path, rows, runs, figures, cost, version)
    return Release(generator=name, path=path, rows=rows, figures=figures, artifacts=artifacts)


@internal
def record_release(connection: Connection, artifacts: tuple[Artifact, ...]) -> None:
    """Makes a release known, inside the caller's write transaction."""
    for artifact in artifacts:
        lineage.record(connection, artifact)
        if artifact.kind == "release":
            body = artifact.body
            told = {key: body[key] for key in ("private", "epsilon", "delta") if key in body}
            journal.append(connection, "RELEASED", release=artifact.id, **told)


@internal
def discard_release(workspace: Workspace, config: SynthesizeConfig, name: str, runs: Sequence[str]) -> None:
    """Remove what a release that is not recorded has written.

    Of a private one the runs stay, as failed ones, and so do the notes of its fit: they are paid for.
    """
    if not config.private:
        forget_fit(workspace, name)
    remove(_folder(workspace, name))
    remove(_file(workspace, name))
    fail_runs(workspace, runs, private=config.private)


@internal
def forget_fit(workspace: Workspace, name: str) -> None:
    """Removes the notes of a fit that is over: its release is recorded, or it is given up."""
    remove(workspace.root / "fits" / name)


@internal
def sweep_releases(workspace: Workspace, dataset: str, *, fits: bool = True) -> None:
    """Removes generators, releases and evaluations of a data set that no artifact names: left by what was killed.

    MLflow runs that were left open are ended. `fits` too: the notes of a fit that was cut off, where it is not to be gone on
    with. The caller holds the data set's lock.
    """
    for folder in fits_of(workspace, dataset) if fits else ():
        remove(folder)
    for path in unrecorded(workspace, dataset):
        remove(path)
    end_runs(workspace, dataset)


def _folder(workspace: Workspace, name: str) -> Path:
    return workspace.root / "generators" / name


def _file(workspace: Workspace, name: str) -> Path:
    return workspace.root / "releases" / f"{name}.parquet"


def _write(
    workspace: Workspace, name: str, fitted: FittedGenerator, codec: Codec, rows: int, progress: Progress
) -> Path:
    """Writes generator and release, each there whole or not at all; returns where the release lies."""
    release = _file(workspace, name)
    with workspace.staging() as staging:  # which nobody takes for a dead one's
        (staging / "generator").mkdir()
        fitted.save(staging / "generator")
        write_rows(
            staging / release.name,
            codec,
            fitted,
            rows,
            rng=np.random.default_rng(),
            progress=lambda fraction, text: progress(0.85 + 0.05 * fraction, text),
        )
        for path in (*(staging / "generator").iterdir(), staging / release.name):
            sync(path)
        (staging / "generator").rename(_folder(workspace, name))
        (staging / release.name).rename(release)
    sync(release.parent)
    sync(_folder(workspace, name).parent)
    return release


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """A fit under way: its generator's name, where its notes are, and whether it was charged before it was cut off."""

    name: str
    folder: Path
    charged: bool

    @property
    def purpose(self) -> str:
        """What the ledger is told."""
        return f"fit {self.name}"


def _begin(workspace: Workspace, store: Store, config: SynthesizeConfig, generator: Generator) -> _Fit:
    """A new fit, or the one of this config on these very records that was cut off; any other is given up.

    How many rows its release has may differ: they are drawn when all is paid for. What it was charged may not, as where another
    version of the workbench solved for its noise. The caller holds the data set's lock.
    """
    about = {
        "config": config.model_dump(mode="json", exclude={"rows"}),
        "records": sha256(repr(sorted(store.digests.items())).encode()),
    }
    paid = {entry.purpose: entry.event for entry in Ledger(workspace.engine).entries(store.schema.population)}
    with workspace.engine.connect() as connection:
        over = {artifact.id for artifact in lineage.find(connection, dataset=config.dataset, kind="generator")}
    for folder in fits_of(workspace, config.dataset):
        if folder.name not in over and _folder(workspace, folder.name).exists():
            continue  # it came to its end and is not recorded yet: an erasure fits several generators
        is_same = config.private and folder.name not in over and _is_about(folder, about)
        charged = paid.get(f"fit {folder.name}")
        if is_same and (charged is None or event_to_json(charged) == event_to_json(generator.event)):
            return _Fit(name=folder.name, folder=folder, charged=charged is not None)
        remove(folder)
    name = _new_name(workspace, config)
    folder = workspace.root / "fits" / name
    folder.mkdir(parents=True)
    write_atomic(folder / "about.json", json.dumps(about).encode())
    return _Fit(name=name, folder=folder, charged=False)


def _is_about(folder: Path, about: Mapping[str, Any]) -> bool:
    """Return whether the notes of a fit are about this; those of earlier versions also say how many rows were asked for."""
    path = folder / "about.json"
    noted: dict[str, Any] = json.loads(path.read_bytes()) if path.is_file() else {}
    noted.get("config", {}).pop("rows", None)
    return noted == about


def _new_name(workspace: Workspace, config: SynthesizeConfig) -> str:
    """A name that no generator, release or fit has: one that is taken would be found out after the charge."""
    while True:
        name = f"{config.dataset}-{config.generator.replace('_', '-')}-{secrets.token_hex(3)}"
        taken = (_folder(workspace, name), _file(workspace, name), workspace.root / "fits" / name)
        if not any(path.exists() for path in taken):
            return name


def _describe(
    config: SynthesizeConfig,
    name: str,
    release: Path,
    rows: int,
    runs: tuple[str, str],
    figures: Figures,
    cost: Mapping[str, float],
    version: int,
) -> tuple[Artifact, ...]:
    private = {"private": config.private, **budget_of(config), "mlflow_run": runs[0]}
    return (
        Artifact(
            id=name,
            kind="generator",
            dataset=config.dataset,
            derived_from=[config.dataset],
            path=f"generators/{name}",
            body={
                **private,
                "rows": rows,
                "generator": config.generator,
                "config": config.model_dump(mode="json"),
            },
        ),
        Artifact(
            id=f"{name}-release",
            kind="release",
            dataset=config.dataset,
            derived_from=[name],
            path=f"releases/{release.name}",
            digest=file_sha256(release),
            body=private,
        ),
        Artifact(
            id=f"{name}-evaluation",
            kind="evaluation",
            dataset=config.dataset,
            derived_from=[f"{name}-release", config.dataset],
            # seconds and memory depend on the rows as the metrics do: they stand here, where all is internal
            body={**figures.to_json(), "cost": dict(cost), "mlflow_run": runs[1], "records_version": version},
        ),
    )
