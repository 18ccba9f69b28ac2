"""What is measured of an erasure: is its certificate exact, and would people like those erased still be told?

Rows of people already erased are gone, so attacks are tried on erasures of living people and of artificial ones, in memory
alone, from the very ensembles that the request trained again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

import numpy as np

from workbench.config import TrainConfig, stored_config
from workbench.data.dataset import Dataset
from workbench.errors import InputError
from workbench.metrics.attacks.erasure import Versions
from workbench.metrics.attacks.reconstruction import RECONSTRUCTION, Erased, Erasures
from workbench.metrics.estimate import Estimate
from workbench.metrics.forgetting import BASELINE
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError, measured
from workbench.metrics.registry import attacks_on_erasure
from workbench.progress import Progress
from workbench.sisa.ensemble import Manifest, aggregate
from workbench.sisa.learners.ridge import Ridge
from workbench.sisa.shard import Floats
from workbench.sisa.training import learner_of
from workbench.state.lineage import Artifact
from workbench.state.roles import internal
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.verify import verify
from workbench.workflows.evaluation.evaluate_ensemble import shards_drawn
from workbench.workflows.evaluation.forgetting_audit import audited_of, try_erasures
from workbench.workflows.evaluation.results import DrawnShard
from workbench.workflows.evaluation.subject import Found, Settings, Thing
from workbench.workflows.evaluation.trial_erasures import AFTER, BEFORE, SCRATCH, Audited
from workbench.workflows.training.publish_version import read_manifest

T = TypeVar("T")

SUBJECTS, CANARIES, CONTROLS = 60, 40, 10
RECONSTRUCTED = 20  # people, where the learner is linear
LOOKED_AT = 400  # living people and strangers, among whom the erased ones are to be told
_MOMENTS = {BEFORE: "before the erasure", AFTER: "after it", SCRATCH: "trained from nothing without them"}
_METHOD = (
    "The certificate was verified, and the retraining replayed.",
    f"{SUBJECTS} living people and {CANARIES} artificial ones were erased on trial, one by one, and the living ones at once.",
    "That was done in memory, from the ensembles that the request trained again; nothing of it was kept.",
    "Attacks try to tell them from people that a model never saw.",
)


@internal
def evaluate_erasure(workspace: Workspace, thing: Thing, settings: Settings, progress: Progress) -> Found:
    """The measures of an erasure on one data set; InputError where its certificate is not in the workspace."""
    path = workspace.root / "certificates" / f"{thing.name}.json"
    if not path.is_file():
        raise InputError(f"erasure {thing.name} has no certificate", hint="workbench requests list")
    report = verify(workspace, path, replay=True, progress=lambda fraction, text: progress(0.1 * fraction, text))
    measures: list[Measure] = []
    shards: list[DrawnShard] = []
    for number, version in enumerate(thing.artifacts, start=1):
        manifest = read_manifest(workspace, version)
        if stored_config(manifest.config, TrainConfig).private:
            measures.append(_absent(number, "it is differentially private: no training can be repeated"))
            continue
        measures += _attacked(workspace, version, manifest, number, settings, progress)
        shards += shards_drawn(workspace, version, manifest)
    held = [check.ok for check in report.checks]
    return Found(
        facts={
            "request": thing.name,
            "exact": bool(report.valid),
            "checks": f"{sum(held)} of {len(held)} hold",
            "ensembles": len(thing.artifacts),
        },
        measures=measures,
        pictures={"shards": shards} if len(thing.artifacts) == 1 else {},
        method=_METHOD,
    )


def _attacked(
    workspace: Workspace, version: Artifact, manifest: Manifest, number: int, settings: Settings, progress: Progress
) -> list[Measure]:
    """All measures of one ensemble; those that fail are told as failed."""
    rng = np.random.default_rng(settings.seed)
    try:
        measures = _tried(workspace, manifest.ensemble, number, settings.seed, progress)
        audited = audited_of(workspace, version, manifest, rng)
    except InputError as fault:
        return [_absent(number, str(fault))]
    versions = cache(lambda: _versions(audited, rng))
    metrics = [_on(metric, versions) for metric in attacks_on_erasure()]
    learner = learner_of(audited.config)
    if isinstance(learner, Ridge):
        metrics.append(_on(RECONSTRUCTION, lambda: _erasures(audited, learner, rng)))
    found = measured(metrics, None)
    return [*measures, *(_numbered(measure, number) for measure in found)]


def _on(metric: Metric[T], made: Callable[[], T]) -> Metric[None]:
    """The metric of what is made only then: where that fails, the metric does."""
    return Metric(title=metric.title, definitions=metric.definitions, compute=lambda _: metric.compute(made()))


def _tried(workspace: Workspace, ensemble: str, number: int, seed: int, progress: Progress) -> list[Measure]:
    """The AUCs of LiRA and RMIA on people erased one by one, before and after."""

    def tell(fraction: float, text: str) -> None:
        progress(0.1 + 0.8 * fraction, text)

    found = try_erasures(
        workspace,
        ensemble,
        subjects=SUBJECTS,
        canaries=CANARIES,
        controls=CONTROLS,
        rng=np.random.default_rng(seed),
        progress=tell,
    )
    guess = Estimate(value=BASELINE, low=BASELINE, high=BASELINE, n=1)
    measures = [
        Measure(
            definition=_definition(number, row.erasure, row.of, row.attack),
            estimate=row.auc,
            baseline=guess,
        )
        for row in found.attacks
    ]
    return [*measures, _equal(number, found.equal, found.compared)]


def _equal(number: int, equal: int, compared: int) -> Measure:
    definition = Definition(
        name=_name(number, "equal"),
        title="Retrained models that equal training from nothing",
        formula="share of equal digests among those compared",
        range=(0.0, 1.0),
        better="higher",
        source="Bourtoule et al. 2021, sect. III (exact unlearning)",
    )
    if not compared:
        return Measure(definition=definition, reason="nothing could be compared")
    share = equal / compared
    return Measure(definition=definition, estimate=Estimate(value=share, low=share, high=share, n=compared))


def _definition(number: int, moment: str, group: str, attack: str) -> Definition:
    kind = "living" if group.startswith("living") else "canaries"
    return Definition(
        name=_name(number, f"{moment.removeprefix('from ')}_{kind}_{attack.lower()}_auc"),
        title=f"{attack} on {group}, {_MOMENTS[moment]}: AUC",
        formula="chance that the score of the own constituent is higher than that of one that never saw the person",
        range=(0.0, 1.0),
        better="lower" if moment != BEFORE else "neither",
        source="Carlini et al. 2022, alg. 1" if attack == "LiRA" else "Zarifzadeh et al. 2024, eqs. 2 and 3",
        baseline="guessing",
    )


def _name(number: int, what: str) -> str:
    """Further ensembles of an erasure are numbered."""
    word, _, rest = what.partition("_")
    return f"forgetting/{word}{'' if number == 1 else f'_{number}'}{f'_{rest}' if rest else ''}"


def _absent(number: int, reason: str) -> Measure:
    return Measure(definition=_definition(number, "after", "living subjects", "LiRA"), reason=reason)


def _numbered(measure: Measure, number: int) -> Measure:
    name = measure.definition.name if number == 1 else f"{measure.definition.name}_{number}"
    return replace(measure, definition=replace(measure.definition, name=name))


def _versions(audited: Audited, rng: np.random.Generator) -> Versions:
    """What the ensemble says before and after living people are erased on trial, all at once."""
    settled = ~np.isin(audited.homes, list(audited.stale))
    people = rng.permutation(np.unique(audited.records.points[settled]))
    erased = people[: min(SUBJECTS, len(people) // 2)]
    living = people[len(erased) : len(erased) + LOOKED_AT]
    strangers = rng.permutation(np.unique(audited.population.points))[:LOOKED_AT]
    records, population = audited.records, audited.population
    groups = [records.rows(np.isin(records.points, chosen)) for chosen in (erased, living)]
    groups.append(population.rows(np.isin(population.points, strangers)))
    before, after = _answers(audited, erased, groups)
    return Versions(
        before=before,
        after=after,
        labels=np.concatenate([group.target for group in groups]),
        points=np.concatenate([group.points for group in groups]),
        status=np.repeat(["erased", "living", "stranger"], [len(group) for group in groups]),
        kind=audited.task.kind,
    )


def _erasures(audited: Audited, learner: Ridge, rng: np.random.Generator) -> Erasures:
    """Parameters before and after trial erasures of people with one row, from one shard after another."""
    records, task = audited.records, audited.task
    points, first, counts = np.unique(records.points, return_index=True, return_counts=True)
    settled = ~np.isin(audited.homes[first], list(audited.stale))
    trials = []
    for place in rng.permutation(np.flatnonzero((counts == 1) & settled))[:RECONSTRUCTED]:
        row = records.rows(records.points == points[place])
        shard = int(audited.homes[first[place]])
        left = records.rows((audited.homes == shard) & (records.points != points[place]))
        if not len(left):
            continue
        models = audited.published(shard), audited.trained(shard, left, first=0)
        before, after = (learner.weights(model, task=task) for model in models)
        trials.append(Erased(before=before, after=after, row=learner.rows(row.features, task=task)[0]))
    return Erasures(
        trials=trials,
        public=learner.rows(audited.population.features, task=task),
        taught=len(records) // audited.manifest.partition.n_shards,
        ridge=learner.penalty,
    )


def _answers(audited: Audited, erased: Any, groups: list[Dataset]) -> tuple[Floats, Floats]:
    """The ensemble's answers on the rows of all groups, with its constituents as they are, and as they would be."""
    learner, features = learner_of(audited.config), np.concatenate([group.features for group in groups])
    partition, records = audited.manifest.partition, audited.records
    gone = np.isin(records.points, erased)
    votes: tuple[list[Floats], list[Floats]] = ([], [])
    for shard in audited.constituents:
        model = audited.published(shard)
        votes[0].append(learner.predict(model, features, task=audited.task))
        mine = (audited.homes == shard) & gone
        left = records.rows((audited.homes == shard) & ~gone)
        if mine.any():
            first = int(partition.slice_of(records.slice_points[mine]).min())
            model = audited.trained(shard, left, first=first) if len(left) else b""
        if model:  # a shard that is emptied abstains
            votes[1].append(learner.predict(model, features, task=audited.task))
    if not votes[1]:
        raise NotComputableError("not computable because the trial erasures empty every shard")
    return aggregate(votes[0], audited.manifest.aggregation), aggregate(votes[1], audited.manifest.aggregation)
