"""What is measured of a release: fidelity and utility beside a naive release and the holdout, attacks, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from workbench.config import SynthesizeConfig, stored_config
from workbench.data import catalog
from workbench.data.dataset import Dataset
from workbench.data.store import Store
from workbench.erasure.request import refuse_quarantined
from workbench.errors import BudgetError, InputError
from workbench.generators.registry import generator_of
from workbench.metrics.attacks.shadow import RELEASES as SHADOWS
from workbench.metrics.attacks.shadow import Refit, shadow
from workbench.metrics.cost import cost
from workbench.metrics.measure import Measure, Metric, NotComputableError, lacking, measured
from workbench.metrics.overlays import associations, overlays
from workbench.metrics.registry import attacks_on_release, fidelity_metrics
from workbench.metrics.subsample import subsample, subsampled
from workbench.metrics.tables import Tables
from workbench.metrics.utility import Fit, Predict, utility_metrics
from workbench.privacy.ledger import Ledger
from workbench.progress import Progress
from workbench.reports.evaluation_document import Fact
from workbench.schema import Schema
from workbench.schema.codec import Values
from workbench.sisa.learners.logistic_regression import LogisticRegression
from workbench.sisa.learners.naive_bayes import NaiveBayes
from workbench.sisa.learners.ridge import Ridge
from workbench.sisa.shard import Floats, Learner, fit_whole
from workbench.sisa.task import Task
from workbench.state import journal, lineage
from workbench.state.atomic_files import file_sha256
from workbench.state.lineage import Artifact
from workbench.state.roles import internal
from workbench.state.workspace import Workspace
from workbench.workflows.evaluation.results import TradeoffPoint
from workbench.workflows.evaluation.subject import Found, Settings, Thing, sampled
from workbench.workflows.synthesis.release_figures import JUDGE, prediction_task

SUPPRESSED_BELOW = 10  # subjects: a bar of fewer is not drawn
ATTACKED = 500, 1_200  # rows of training and holdout, where the release is larger than what is looked at
_APPENDED = "not computable because rows were added since it was made: who of them it was fitted to is not known"
_METHOD = (
    "Training records, holdout and release are compared in the cells of the public schema.",
    "The baseline is a naive release: every column of the training records shuffled by itself.",
    "The ceiling is the holdout in the release's place, or a model trained on the training records.",
    "Attacks try to tell people of the training records from people of the holdout, by the release alone.",
    f"A part of a release hides most of what all tells: of a large one, {ATTACKED[0]} records are looked for in all of it.",
    "Attacks that would take too long for that are left out. Exact copies are counted in whole tables.",
    f"Bars that rest on fewer than {SUPPRESSED_BELOW} people are drawn together.",
)


@internal
def evaluate_release(workspace: Workspace, thing: Thing, settings: Settings, progress: Progress) -> Found:
    """The measures of a release; InputError where its file is damaged or missing."""
    release = thing.artifacts[0]
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, thing.dataset)
        generator = lineage.get(connection, release.derived_from[0])
        others = lineage.find(connection, dataset=thing.dataset)
        refuse_quarantined(connection, release)
        added = [at for at, body in journal.entries(connection, "APPENDED") if body["dataset"] == thing.dataset]
    appended = any(at > generator.created for at in added)
    schema = store.schema
    at_once = attacks_on_release(schema, "large release")
    guesses, of_all = attacks_on_release(schema, "release"), attacks_on_release(schema, "whole tables")
    if settings.shadow:
        guesses += (shadow(_refitted(workspace, store, generator)),)  # before a row is read
    training = thing.left_out.rest(store.read("train"))
    synthetic: Values = training.codec.encode(_read(workspace, release)).values
    holdout = thing.left_out.rest(store.read("holdout"))
    whole = Tables(training=training, holdout=holdout, synthetic=synthetic, seed=settings.seed)
    looked_at = subsampled(whole, settings.rows)
    tables = looked_at.part
    metrics: tuple[Metric[Tables], ...] = (*fidelity_metrics(schema), *utility_metrics(schema, _learners(schema)))
    measures = measured(metrics, tables, progress=lambda fraction, text: progress(0.4 * fraction, text))
    if appended:
        measures += lacking((*at_once, *guesses, *of_all), _APPENDED)
    else:
        measures += measured(at_once, _attacked(whole, tables), progress=lambda f, text: progress(0.4 + 0.3 * f, text))
        measures += measured(guesses, tables, progress=lambda f, text: progress(0.7 + 0.3 * f, text))
        measures += measured(of_all, whole)
    return Found(
        facts=_facts(release, generator),
        measures=[*measures, *_cost(generator, others)],
        pictures=_pictures(tables, generator, others),
        sampled=sampled(looked_at.factor),
        method=_METHOD,
    )


def _attacked(whole: Tables, part: Tables) -> Tables:
    """All of the release, since a part hides most of what it tells; where it is large, for fewer people."""
    if part.looked_at == 1:
        return part
    training, holdout = (
        subsample(table, rows, rng=whole.rng("attacked")).part
        for table, rows in ((whole.training, ATTACKED[0]), (whole.holdout, ATTACKED[1]))
    )
    return replace(whole, training=training, holdout=holdout)


def _read(workspace: Workspace, release: Artifact) -> Any:
    path = workspace.root / str(release.path)
    if not path.is_file() or file_sha256(path) != release.digest:
        raise InputError(f"the file of {release.id} is damaged or missing", hint="restore it from a backup")
    return pq.read_table(path).to_pandas()


def _refitted(workspace: Workspace, store: Store, generator: Artifact) -> Refit:
    """Makes shadow releases of rows, each charged where the generator is private; BudgetError where not all can be."""
    config = stored_config(generator.body["config"], SynthesizeConfig)
    made, ledger, population = generator_of(config), Ledger(workspace.engine), store.schema.population
    if config.private and not ledger.admits(population, [made.event] * SHADOWS):
        raise BudgetError(
            f"the budget of population {population} does not admit {SHADOWS} more fits of {config.generator}; nothing was read",
            hint="evaluate without --shadow, or have the budget raised",
        )

    def refit(rows: Dataset, rng: np.random.Generator) -> Values:
        if config.private:
            purpose = f"shadow release to evaluate {generator.id}"
            ledger.charge(population, made.event, dataset=store.name, purpose=purpose)
        return made.fit(rows).sample(len(rows), rng=rng)

    return refit


def _learners(schema: Schema) -> dict[str, Fit]:
    """The learners that are trained on the release, by name; none where nothing can be predicted."""
    try:
        task = prediction_task(schema)
    except NotComputableError:
        return {}
    learners: dict[str, Learner] = {"gradient_boosting": JUDGE}
    if task.kind == "regression":
        learners["ridge"] = Ridge(penalty=1.0)
    else:
        learners |= {"logistic_regression": LogisticRegression(penalty=1.0), "naive_bayes": NaiveBayes(smoothing=1.0)}
    return {name: partial(_fitted, learner, task) for name, learner in learners.items()}


def _fitted(learner: Learner, task: Task, features: Floats, target: Floats) -> Predict:
    model = fit_whole(learner, features, target, task=task)
    return lambda rows: learner.predict(model, rows, task=task)


def _facts(release: Artifact, generator: Artifact) -> dict[str, Fact]:
    body = generator.body
    told = {"generator": body["generator"], "private": release.body["private"], "rows": body["rows"]}
    budget = {key: body[key] for key in ("epsilon", "delta") if key in body}
    shards = body.get("config", {}).get("shards", 1)
    return told | budget | ({"shards": shards} if shards > 1 else {})


def _cost(generator: Artifact, others: list[Artifact]) -> list[Measure]:
    body = generator.body
    figures = next((a.body for a in others if a.id == f"{generator.id}-evaluation"), {})
    took = figures.get("cost", {})
    return [
        cost("seconds", "Seconds of the fit and its release", took.get("seconds"), source="when it was made"),
        cost(
            "peak_mb", "Peak memory of the process that fitted it, MB", took.get("peak_mb"), source="when it was made"
        ),
        cost(
            "epsilon",
            "ε that the fit cost",
            body.get("epsilon"),
            source="the ledger",
            why="it is not differentially private",
        ),
    ]


def _pictures(tables: Tables, generator: Artifact, others: list[Artifact]) -> Mapping[str, object]:
    pictures: dict[str, object] = {"tradeoff": _tradeoff(generator, others)}
    try:
        drawn = overlays(tables, threshold=SUPPRESSED_BELOW)
        strengths = associations(tables)
    except Exception:  # a picture that fails does not lose the figures
        return pictures
    columns = [
        {
            "name": overlay.column,
            "labels": [bar.label for bar in overlay.bars],
            "training": [bar.training for bar in overlay.bars],
            "synthetic": [bar.synthetic for bar in overlay.bars],
        }
        for overlay in drawn
    ]
    matrices = {"training": strengths.training, "synthetic": strengths.synthetic}
    return pictures | {"columns": columns, "associations": {"names": strengths.columns, **matrices}}


def _tradeoff(generator: Artifact, others: list[Artifact]) -> list[TradeoffPoint]:
    """Every release of the data set whose utility was measured when it was made."""
    generators = {a.id: a for a in others if a.kind == "generator"}
    points = []
    for evaluation in (a for a in others if a.kind == "evaluation"):
        made = next((generators[g] for g in generators if f"{g}-release" in evaluation.derived_from), None)
        utility = _quick(evaluation.body.get("metrics", {}))
        if made is None or utility is None or "of" in evaluation.body:
            continue
        points.append(
            TradeoffPoint(
                id=made.id,
                generator=made.body["generator"],
                epsilon=made.body.get("epsilon"),
                utility=utility,
                this=made.id == generator.id,
            )
        )
    return points


def _quick(metrics: Mapping[str, Any]) -> Any:
    return next((metrics[name] for name in ("utility/tstr_auc", "utility/tstr_r2") if name in metrics), None)
