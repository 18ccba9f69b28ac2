"""A generator under several settings: all of the budget is looked at before the first fit, and the results are compared."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from workbench.config import SynthesizeConfig, read_config
from workbench.data import catalog
from workbench.errors import BudgetError, BusyError, InputError
from workbench.generators.registry import generator_of
from workbench.jobs.worker import as_job
from workbench.privacy.ledger import Ledger, spent, unrecorded
from workbench.progress import Progress, silent
from workbench.reports.comparison_page import comparison_page
from workbench.reports.evaluation_document import Evaluation
from workbench.state import lineage
from workbench.state.lineage import Artifact
from workbench.state.roles import allowed, open_to_all
from workbench.state.workspace import Workspace
from workbench.tracking import RunRecord, Tracking, log_run, log_text, purge_runs
from workbench.workflows.evaluation.evaluate import evaluate
from workbench.workflows.evaluation.report import check_page
from workbench.workflows.evaluation.results import Claim, PlannedFit, Sweep, SweepCost, SweepPlan, SweptRelease
from workbench.workflows.exclusive import exclusive
from workbench.workflows.outputs import place_bytes
from workbench.workflows.synthesis.preflight import expected
from workbench.workflows.synthesis.synthesize import synthesize

_NOTHING = "nothing is compared"
MOST = 64  # more is a slip of the pen that would spend a budget


@open_to_all
def configs_of(path: Path, over: Sequence[str], overrides: Sequence[str] = ()) -> list[SynthesizeConfig]:
    """One config per combination of the values; raises InputError naming the fault of any, before anything is done."""
    axes = []
    for one in over:
        field, equals, values = one.partition("=")
        if not equals or not all(values.split(",")):
            raise InputError(f"--over {one!r} names no values", hint="--over epsilon=0.3,1,3")
        axes.append([f"{field}={value}" for value in dict.fromkeys(values.split(","))])
    combinations = list(itertools.product(*axes))
    if len(combinations) > MOST:
        raise InputError(f"asked for {len(combinations)} fits; a sweep makes at most {MOST}", hint="try fewer values")
    configs = [read_config(path, SynthesizeConfig, [*overrides, *combination]) for combination in combinations]
    if len({config.dataset for config in configs}) > 1:
        raise InputError("a sweep is over one data set", hint="make one sweep of each")
    return configs


@allowed("operate")
def sweep(
    workspace: Workspace, configs: Sequence[SynthesizeConfig], *, out: Path | None = None, progress: Progress = silent
) -> Sweep:
    """Fits, releases and evaluates each config, and compares them; raises BudgetError first where not all can be paid.

    To choose among the releases by what was measured is to look at people's records: the choice itself is not private.
    """
    if out is not None:
        check_page(workspace, out)
    planned = plan_sweep(workspace, configs)
    if not planned.allowed:
        spent_after = planned.cost.spent_after if planned.cost else 0.0
        raise BudgetError(
            f"all {len(configs)} fits together would spend epsilon {spent_after:.4g}; nothing was read",
            hint="try fewer values, or set a larger budget: workbench ledger budget",
        )
    done: list[Sweep] = []

    def work(tell: Progress) -> Mapping[str, str]:
        done.append(_swept(workspace, configs, out, tell))
        return {"dataset": configs[0].dataset}

    as_job(workspace.engine, "sweep", {}, work, progress)
    return done[0]


def _swept(workspace: Workspace, configs: Sequence[SynthesizeConfig], out: Path | None, progress: Progress) -> Sweep:
    documents: list[Evaluation] = []
    for number, config in enumerate(configs):

        def tell(fraction: float, text: str, number: int = number) -> None:
            progress((number + fraction) / len(configs), f"{number + 1} of {len(configs)}: {text}")

        made = synthesize(workspace, config, progress=lambda f, t, tell=tell: tell(0.5 * f, t))  # type: ignore[misc]
        documents.append(
            evaluate(workspace, made.release, progress=lambda f, t, tell=tell: tell(0.5 + 0.5 * f, t))  # type: ignore[misc]
        )
    run = _publish(workspace, documents, out)
    return Sweep(
        releases=tuple(map(_swept_release, documents)),
        mlflow_run=run,
        note="a choice among them by these figures looks at people's records: it is not private",
        html=out,
    )


@open_to_all
def plan_sweep(workspace: Workspace, configs: Sequence[SynthesizeConfig]) -> SweepPlan:
    """What all fits together would cost; nothing is read but schema and ledger."""
    with workspace.engine.connect() as connection:
        schema = catalog.entry(connection, configs[0].dataset).schema
    private = [config for config in configs if config.private]
    forecasts = [expected(config, schema) for config in configs]
    fits = tuple(
        PlannedFit(generator=c.generator, epsilon=c.epsilon, seconds=None if forecast is None else forecast.seconds)
        for c, forecast in zip(configs, forecasts, strict=True)
    )
    if not private:
        return SweepPlan(fits=fits, cost=None, allowed=True)
    ledger, population = Ledger(workspace.engine), schema.population
    budget, entries = ledger.budget(population), ledger.entries(population)
    events = [generator_of(config).event for config in private]
    at = budget.delta if budget else private[0].budget[1]
    cost = SweepCost(
        spent_before=spent(entries, at),
        spent_after=spent([*entries, *(unrecorded(population, event) for event in events)], at),
        budget=Claim(epsilon=budget.epsilon, delta=budget.delta) if budget else None,
    )
    return SweepPlan(fits=fits, cost=cost, allowed=ledger.admits(population, events))


def _swept_release(evaluation: Evaluation) -> SweptRelease:
    facts = evaluation.facts
    figures = {m.definition.name: m.estimate.value for m in evaluation.measures if m.estimate is not None}
    shown = ("fidelity/tvd2", "utility/tstr_auc_gradient_boosting", "utility/tstr_r2_gradient_boosting")
    epsilon = facts.get("epsilon")
    return SweptRelease(
        release=evaluation.of,
        generator=str(facts["generator"]),
        epsilon=None if epsilon is None else float(epsilon),
        figures={name: round(figures[name], 4) for name in shown if name in figures},
        uses={verdict.use: verdict.holds for verdict in evaluation.verdicts},
    )


def _publish(workspace: Workspace, documents: Sequence[Evaluation], out: Path | None) -> str:
    """Writes the comparison and logs it, as an evaluation like those it is made of; returns its run.

    Raises BusyError where one of them is there no more, since an erasure purged it: then nothing is written.
    """
    dataset = documents[0].dataset
    with exclusive(workspace, dataset, refused=_NOTHING) as held:
        with workspace.engine.connect() as connection:
            known = {artifact.id for artifact in lineage.find(connection, dataset=dataset, kind="evaluation")}
        if not known.issuperset(document.id for document in documents):
            raise BusyError(
                "an erasure purged what was to be compared", hint="evaluate the releases that are left again"
            )
        page, tracking = comparison_page([one.to_json() for one in documents]), Tracking(workspace.root)
        run = log_run(tracking, _run(dataset, documents))
        held.on_failure(partial(purge_runs, tracking, run_ids=[run]))
        log_text(tracking, run, "comparison.html", page)
        artifact = Artifact(
            id=f"sweep-{secrets.token_hex(3)}-evaluation",
            kind="evaluation",
            dataset=dataset,
            derived_from=[*(document.id for document in documents), dataset],
            body={"metrics": {}, "mlflow_run": run},
        )
        with held.publishing() as connection:
            lineage.record(connection, artifact)
        if out is not None:
            place_bytes(workspace, out, page.encode(), held.judge, private=True)
    return run


def _run(dataset: str, documents: Sequence[Evaluation]) -> RunRecord:
    return RunRecord(
        experiment=dataset,
        name=f"sweep of {len(documents)} releases",
        kind="evaluation",
        params={f"release_{number}": document.of for number, document in enumerate(documents, start=1)},
        metrics={},
        tags={"workbench.audience": "internal"},
    )
