"""A workspace at a glance: what it holds, and what needs somebody's attention. It reads no record."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from sqlalchemy import Connection, select

from workbench.data import catalog
from workbench.erasure.policy import ErasurePolicy
from workbench.errors import NotFoundError
from workbench.privacy.holds import holding
from workbench.privacy.ledger import ROUNDING, Ledger, spent
from workbench.state import journal, lineage
from workbench.state.lineage import Artifact
from workbench.state.roles import open_to_all
from workbench.state.tables import datasets
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.decide import list_requests
from workbench.workflows.erasure.results import RequestSummary
from workbench.workflows.operations.jobs import list_jobs
from workbench.workflows.operations.results import (
    AttentionPoint,
    BudgetSummary,
    DatasetSummary,
    JobDetails,
    MeasuredFigures,
    ModelDetails,
    ModelSummary,
    Overview,
    PublishedVersion,
    ReleaseSummary,
)
from workbench.workflows.training.publish_version import current_versions, read_manifest

SOON_DAYS = 7
NEARLY_SPENT = 0.8
_OVER = ("completed", "rejected", "denied", "cancelled")


@open_to_all
def overview(workspace: Workspace) -> Overview:
    """Data sets, models, releases and budgets; `attention` names the page where each thing is looked after."""
    with workspace.engine.connect() as connection:
        sets = _datasets(connection)
        models = [_model(name, artifact) for name, artifact in current_versions(connection).items()]
        releases = _releases(connection)
    budgets = [budget for name in sorted({s.population for s in sets}) if (budget := _budget(workspace, name))]
    requests, jobs = list_requests(workspace).requests, list_jobs(workspace).jobs
    unbudgeted = {s.population for s in sets}.difference(b.population for b in budgets)
    return Overview(
        datasets=tuple(sets),
        models=tuple(models),
        releases=tuple(releases),
        budgets=tuple(budgets),
        unbudgeted=tuple(sorted(unbudgeted)),
        open_requests=sum(r.status not in _OVER for r in requests),
        attention=(*_of_requests(requests), *_of_budgets(budgets), *_of_jobs(jobs), *_of_models(models)),
    )


@open_to_all
def model(workspace: Workspace, ensemble: str) -> ModelDetails:
    """An ensemble: its current version with config and metrics, and when each version was published and for whom.

    Raises NotFoundError where there is none of that name.
    """
    with workspace.engine.connect() as connection:
        artifact = current_versions(connection).get(ensemble)
        if artifact is None:
            raise NotFoundError(f"no ensemble {ensemble!r} in this workspace")
        entries = journal.latest(connection, kind="PUBLISHED")
    return ModelDetails(
        **vars(_model(ensemble, artifact)),
        config=read_manifest(workspace, artifact).config,
        versions=tuple(_published(e["body"], e["at"]) for e in entries if e["body"]["ensemble"] == ensemble),
    )


def _published(body: Mapping[str, Any], at: str) -> PublishedVersion:
    return PublishedVersion(
        ensemble=body["ensemble"],
        version=body["version"],
        digest=body["digest"],
        retrained=tuple(body["retrained"]),
        requests=tuple(body["requests"]),
        at=at,
    )


@open_to_all
def quality(workspace: Workspace, of: str) -> Mapping[str, float]:
    """The figures by name that were measured of a release when it was made; none once an erasure purged them."""
    with workspace.engine.connect() as connection:
        found = [a for a in lineage.find(connection, kind="evaluation") if a.path is None and of in a.derived_from]
    figures: dict[str, float] = {}
    for artifact in found:
        figures |= {k: v["value"] if isinstance(v, dict) else v for k, v in artifact.body.get("metrics", {}).items()}
    return figures


@open_to_all
def measured(workspace: Workspace, of: str) -> MeasuredFigures | None:
    """When the figures of a release were measured and on which version of its records; None once an erasure purged them."""
    with workspace.engine.connect() as connection:
        found = [a for a in lineage.find(connection, kind="evaluation") if a.path is None and of in a.derived_from]
    known = next((a for a in found if "metrics" in a.body), None)
    if known is None:
        return None
    return MeasuredFigures(
        at=known.created, records_version=known.body.get("records_version"), left_out=known.body.get("left_out")
    )


def _datasets(connection: Connection) -> list[DatasetSummary]:
    created = {row.name: row.created for row in connection.execute(select(datasets.c.name, datasets.c.created))}
    return [_dataset(catalog.entry(connection, name), created[name]) for name in catalog.names(connection)]


def _dataset(entry: catalog.Entry, created: str) -> DatasetSummary:
    schema = entry.schema
    return DatasetSummary(
        dataset=entry.name,
        population=schema.population,
        identity_type=schema.identity_type,
        by_row=schema.subject == "row",
        target=schema.target,
        columns=len(schema.encoded),
        unreviewed=tuple(schema.unreviewed),
        policy=ErasurePolicy.model_validate(entry.policy),
        created=created,
    )


def _model(name: str, artifact: Artifact) -> ModelSummary:
    return ModelSummary(
        ensemble=name,
        version=artifact.body["version"],
        dataset=artifact.dataset,
        metrics=artifact.body.get("metrics", {}),
        stale=bool(artifact.body.get("stale")),
        created=artifact.created,
        artifact=artifact.id,
    )


def _releases(connection: Connection) -> list[ReleaseSummary]:
    generators = {a.id: a for a in lineage.find(connection, kind="generator")}
    made = [
        (a, generators[p]) for a in lineage.find(connection, kind="release") for p in a.derived_from if p in generators
    ]
    return [_release(release, generator) for release, generator in reversed(made)]


def _release(release: Artifact, generator: Artifact) -> ReleaseSummary:
    return ReleaseSummary(
        release=release.id,
        generator=generator.id,
        kind=generator.body["generator"],
        dataset=release.dataset,
        private=release.body["private"],
        epsilon=release.body.get("epsilon"),
        delta=release.body.get("delta"),
        rows=generator.body.get("rows"),
        created=release.created,
    )


def _budget(workspace: Workspace, population: str) -> BudgetSummary | None:
    ledger = Ledger(workspace.engine)
    budget = ledger.budget(population)
    if budget is None:
        return None
    used = spent(ledger.entries(population), budget.delta)
    with workspace.engine.connect() as connection:
        held = bool(holding(connection, population))
    return BudgetSummary(
        population=population,
        epsilon=budget.epsilon,
        delta=budget.delta,
        spent=max(used, budget.epsilon) if held else used,
        held=held,
    )


def _of_requests(requests: Sequence[RequestSummary]) -> list[AttentionPoint]:
    soon = (dt.datetime.fromisoformat(journal.now()) + dt.timedelta(days=SOON_DAYS)).isoformat(timespec="seconds")
    found = []
    for one in (r for r in requests if r.status not in _OVER):
        if one.overdue:
            found.append(_point("error", f"Request {one.request} is overdue.", "erasure", one.request))
        elif one.status == "failed":
            found.append(_point("error", f"Request {one.request} failed and waits.", "erasure", one.request))
        elif one.approval == "waiting":
            found.append(_point("warning", f"Request {one.request} waits for approval.", "erasure", one.request))
        elif one.due < soon:
            found.append(_point("warning", f"Request {one.request} is due soon.", "erasure", one.request))
    return found


def _of_budgets(budgets: Sequence[BudgetSummary]) -> list[AttentionPoint]:
    found = []
    for b in budgets:
        if b.held:
            text = f"The privacy budget of {b.population} is held since the workspace was restored."
            found.append(_point("error", text, "privacy"))
        elif b.spent > b.epsilon * (1 + ROUNDING):
            found.append(_point("error", f"Of {b.population} more is spent than the privacy budget.", "privacy"))
        elif b.spent >= NEARLY_SPENT * b.epsilon:
            found.append(_point("warning", f"The privacy budget of {b.population} is nearly spent.", "privacy"))
    return found


def _of_jobs(jobs: Sequence[JobDetails]) -> list[AttentionPoint]:
    """Of each kind the last job alone: one that went well since makes the earlier fault history."""
    last = {job.kind: job for job in jobs}
    broken = (job for job in last.values() if job.status == "failed" or job.lost)
    return [_point("error", f"The last job of kind {job.kind} came to no end.", "settings", job.job) for job in broken]


def _of_models(models: Sequence[ModelSummary]) -> list[AttentionPoint]:
    stale = (model.ensemble for model in models if model.stale)
    return [_point("info", f"{name} was trained before rows were added to its data set.", "models") for name in stale]


def _point(
    level: Literal["error", "warning", "info"], text: str, page: str, about: str | None = None
) -> AttentionPoint:
    return AttentionPoint(level=level, text=text, page=page, about=about)
