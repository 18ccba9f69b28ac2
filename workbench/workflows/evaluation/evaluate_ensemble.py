"""What is measured of an ensemble: how well it predicts the holdout, what it tells of the people it learnt from, its cost."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np

from workbench.config import TrainConfig, stored_config
from workbench.data import catalog
from workbench.data.dataset import Dataset
from workbench.erasure.plan import pending_of
from workbench.errors import QuarantinedError
from workbench.metrics.attacks._tools.answers import Answers, Asked
from workbench.metrics.cost import cost
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError, lacking, measured
from workbench.metrics.registry import attacks_on_ensemble
from workbench.metrics.subsample import subsample, subsampled
from workbench.metrics.tables import Tables
from workbench.metrics.utility.scores import CLASSIFICATION, REGRESSION, Score, estimated
from workbench.progress import Progress
from workbench.reports.evaluation_document import Fact
from workbench.sisa.ensemble import Constituent, Manifest, aggregate, usable
from workbench.sisa.shard import Floats, fit_whole
from workbench.sisa.task import Task, task_of
from workbench.sisa.training import learner_of
from workbench.state import lineage
from workbench.state.lineage import Artifact
from workbench.state.roles import internal
from workbench.state.workspace import Workspace
from workbench.workflows.evaluation.results import DrawnShard
from workbench.workflows.evaluation.subject import Found, Settings, Thing, sampled
from workbench.workflows.training.holdout_predictions import votes_of
from workbench.workflows.training.publish_version import read_manifest
from workbench.workflows.training.train_shards import objects_of

ATTACKED = 5_000  # rows a side that are asked about
_METHOD = (
    "The ensemble predicts the holdout, which it never saw.",
    "The ceiling is one model with the same settings, trained on all training records that were looked at.",
    "The baseline answers with their mean, or with the share of each label.",
    "Attacks try to tell people it learnt from, from people of the holdout: by its answers and by its labels.",
    "Those on a constituent are by who sees what single shards say, which an outsider does not.",
)


@internal
def evaluate_ensemble(workspace: Workspace, thing: Thing, settings: Settings, progress: Progress) -> Found:
    """The measures of an ensemble's version; InputError where it or its records are damaged."""
    version = thing.artifacts[0]
    published = read_manifest(workspace, version)
    manifest = published.silent(thing.left_out.shards(published.partition))
    if not usable(manifest, ()) and usable(published, ()):
        raise QuarantinedError(
            f"every shard of {published.ensemble} learnt from a person with an open erasure request",
            hint="finish the open erasure requests: workbench resume, workbench requests list",
        )
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, thing.dataset)
    training, nothing = thing.left_out.rest(store.read("train")), np.empty((0, len(store.schema.encoded)))
    holdout = thing.left_out.rest(store.read("holdout"))
    whole = Tables(training=training, holdout=holdout, synthetic=nothing, seed=settings.seed)
    looked_at = subsampled(whole, settings.rows)
    tables = looked_at.part

    def first(fraction: float, text: str) -> None:
        progress(0.5 * fraction, text)

    def then(fraction: float, text: str) -> None:
        progress(0.5 + 0.5 * fraction, text)

    measures = measured(_utility(workspace, manifest, tables), tables, progress=first)
    taught = len(np.unique(training.points))
    try:
        measures += measured(
            attacks_on_ensemble(), _answers(workspace, manifest, tables, taught, pending_of(version)), progress=then
        )
    except NotComputableError as why:
        measures += lacking(attacks_on_ensemble(), str(why))
    shards = shards_drawn(workspace, version, published)
    seconds = sum(shard.seconds for shard in shards)
    objects = objects_of(workspace, thing.dataset)
    stored = sum(objects.path(digest).stat().st_size for digest in published.objects())
    config = stored_config(manifest.config, TrainConfig)
    return Found(
        facts=_facts(manifest, config),
        measures=[
            *measures,
            cost(
                "seconds",
                "Seconds that its shards took to train",
                seconds,
                source="when they were trained",
            ),
            cost(
                "peak_mb",
                "Peak memory of the largest process that made this version, MB",
                version.body.get("peak_mb"),
                source="when it was made",
            ),
            cost("stored_mb", "Storage of its checkpoints, MB", stored / 2**20, source="the files"),
            cost(
                "epsilon", "ε that it cost", config.epsilon, source="the config", why="it is not differentially private"
            ),
        ],
        pictures={"shards": shards},
        sampled=sampled(looked_at.factor),
        method=_METHOD,
        left_out={"shards": len(usable(published, ())) - len(usable(manifest, ()))},
    )


def _facts(manifest: Manifest, config: TrainConfig) -> dict[str, Fact]:
    told: dict[str, Fact] = {
        "learner": config.learner,
        "version": manifest.version,
        "shards": config.shards,
        "slices": config.slices,
        "aggregation": manifest.aggregation,
        "answers": config.answers,
        "private": config.private,
    }
    budget = {key: value for key, value in (("epsilon", config.epsilon), ("delta", config.delta)) if value is not None}
    return told | budget | ({"informed by": config.informed_by} if config.informed_by else {})


@internal
def shards_drawn(workspace: Workspace, version: Artifact, manifest: Manifest) -> list[DrawnShard]:
    """What the shard map shows of a version."""
    with workspace.engine.connect() as connection:
        bodies = [lineage.get(connection, parent).body for parent in version.derived_from]
    seconds = {int(body["shard"]): body["seconds"] for body in bodies}
    return [_shard(constituent, seconds[constituent.shard]) for constituent in manifest.constituents]


def _shard(constituent: Constituent, seconds: Sequence[float]) -> DrawnShard:
    again = "retrained" if constituent.generation > 1 else "trained"
    return DrawnShard(
        shard=constituent.shard,
        state="empty" if constituent.digest is None else again,
        generation=constituent.generation,
        slices=len(constituent.checkpoints),
        first_redone=next((number for number, took in enumerate(seconds) if took > 0), 0),
        seconds=round(sum(seconds), 3),
    )


def _utility(workspace: Workspace, manifest: Manifest, tables: Tables) -> list[Metric[Tables]]:
    """One metric with all scores of the task, so that each model is asked once."""
    task = task_of(tables.training.schema)
    scores = REGRESSION if task.kind == "regression" else CLASSIFICATION
    definitions = tuple(_definition(score) for score in scores)

    def compute(of: Tables) -> list[Measure]:
        if not len(of.holdout):
            raise NotComputableError("not computable because the holdout is empty")
        votes = votes_of(manifest, objects_of(workspace, manifest.dataset), of.holdout)
        if not votes:
            raise NotComputableError("not computable because every shard is empty")
        own = aggregate(votes, manifest.aggregation)
        whole, naive = _whole(manifest, of, task), _naive(of, task)
        return [_scored(d, score, of, own, naive, whole) for d, score in zip(definitions, scores, strict=True)]

    return [Metric(title="predicting the holdout", definitions=definitions, compute=compute)]


def _definition(score: Score) -> Definition:
    return Definition(
        name=f"utility/{score.word}",
        title=score.title,
        formula=f"{score.formula}; of the ensemble on the holdout",
        range=score.range,
        better=score.better,
        source="Bourtoule et al. 2021, sect. VII (an ensemble against one model)",
        baseline="the mean of the training records' target, or the share of each label",
        ceiling="one model with the same settings, trained on all the training records looked at",
    )


def _scored(
    definition: Definition, score: Score, of: Tables, own: Floats, naive: Floats, whole: Floats | None
) -> Measure:
    try:
        estimates = [estimated(score, of, predicted) for predicted in (own, naive)]
    except NotComputableError as why:
        return Measure(definition=definition, reason=str(why))
    ceiling = None if whole is None else estimated(score, of, whole)
    return Measure(definition=definition, estimate=estimates[0], baseline=estimates[1], ceiling=ceiling)


def _whole(manifest: Manifest, of: Tables, task: Task) -> Floats | None:
    """What one model says; of a private learner none is trained, since nothing was charged for it."""
    config = stored_config(manifest.config, TrainConfig)
    if config.private or not len(of.training):
        return None
    learner = learner_of(config.partitioned(1, 1))
    model = fit_whole(learner, of.training.features, of.training.target, task=task)
    return learner.predict(model, of.holdout.features, task=task)


def _naive(of: Tables, task: Task) -> Floats:
    target = of.training.target
    answer = (
        np.array([target.mean()])
        if task.kind == "regression"
        else np.bincount(target.astype(np.int64), minlength=task.n_classes) / len(target)
    )
    return np.tile(answer, (len(of.holdout), 1))


def _answers(workspace: Workspace, manifest: Manifest, tables: Tables, taught: int, pending: Container[int]) -> Answers:
    """What the ensemble and each constituent say of some people of the training records and of the holdout."""
    voting = [c.shard for c in manifest.constituents if c.digest is not None]
    known = [
        shard for shard in voting if shard not in pending
    ]  # of the others some rows came in since they were trained
    if not known:
        raise NotComputableError("not computable because every shard is empty, or got rows since it was trained")
    training, holdout = tables.training, tables.holdout
    homes = manifest.partition.shard_of(training.points)
    members = subsample(training.rows(np.isin(homes, known)), ATTACKED, rng=tables.rng("members")).part
    strangers = subsample(holdout, ATTACKED, rng=tables.rng("strangers")).part
    if not len(members) or not len(strangers):
        raise NotComputableError("not computable because there is nobody to attack, or nobody to compare with")
    places = {shard: place for place, shard in enumerate(voting)}
    return Answers(
        members=_asked(workspace, manifest, members),
        holdout=_asked(workspace, manifest, strangers),
        shards=np.array([places[shard] for shard in manifest.partition.shard_of(members.points).tolist()]),
        taught=taught,
        kind=task_of(training.schema).kind,
        seed=tables.seed,
    )


def _asked(workspace: Workspace, manifest: Manifest, rows: Dataset) -> Asked:
    votes = votes_of(manifest, objects_of(workspace, manifest.dataset), rows, remember=False)
    return Asked(
        constituents=np.stack(votes, axis=1),
        aggregate=aggregate(votes, manifest.aggregation),
        labels=rows.target,
        points=rows.points,
    )
