"""Attacks that evaluations kept, and audits, of a population: how each did beside its baseline, and what was asked of it."""

from __future__ import annotations

from workbench.data import catalog
from workbench.errors import WorkbenchError
from workbench.reports.evaluation_document import Evaluation
from workbench.reports.verdict import VerdictRules, judged
from workbench.state.roles import open_to_all
from workbench.state.workspace import Workspace
from workbench.workflows.evaluation.results import Attacked, AttackResult, KeptAudit
from workbench.workflows.evaluation.stored_evaluations import evaluation_of, evaluations, read_rules
from workbench.workflows.internal_results import findings

FAMILY = "disclosure"


@open_to_all
def attacks(workspace: Workspace, population: str) -> list[Attacked]:
    """For each thing that was evaluated, newest first, its attacks: estimate, baseline, and the uses that it stands against.

    `holds` of an attack is whether all bounds on it are kept; None where that was not shown or nothing is asked. Nothing is
    measured. An evaluation that is damaged is left out: the doctor tells of it.
    """
    mine, rules, found = _datasets(workspace, population), read_rules(None), []
    for one in evaluations(workspace):
        if one.dataset not in mine:
            continue
        try:
            evaluation = evaluation_of(workspace, one.id, one.dataset)
        except WorkbenchError:
            continue
        if results := _results(evaluation, rules):
            found.append(Attacked(of=one.of, kind=evaluation.kind, made=one.made, attacks=tuple(results)))
    return found


@open_to_all
def audits(workspace: Workspace, population: str) -> list[KeptAudit]:
    """The last audit of each generator on the population's data sets: the claim, and the least epsilon that was shown."""
    mine = _datasets(workspace, population)
    kept = (KeptAudit.from_json(one.content, made=one.made) for one in findings(workspace, "audit"))
    return [one for one in kept if one.dataset in mine]


def _datasets(workspace: Workspace, population: str) -> set[str]:
    with workspace.engine.connect() as connection:
        names = catalog.names(connection)
        return {name for name in names if catalog.entry(connection, name).schema.population == population}


def _results(evaluation: Evaluation, rules: VerdictRules) -> list[AttackResult]:
    results = []
    for measure in evaluation.families.get(FAMILY, []):
        if measure.estimate is None:
            continue
        uses = judged(measure, evaluation.kind, rules)
        holds = None if not uses or None in uses.values() else all(uses.values())
        results.append(
            AttackResult(
                attack=measure.definition.title,
                estimate=measure.estimate,
                baseline=measure.baseline,
                ceiling=measure.ceiling,
                against=measure.definition.baseline or measure.definition.ceiling,
                better=measure.definition.better,
                asked=bool(uses),
                holds=False if False in uses.values() else holds,
                unfit=tuple(use for use, held in uses.items() if held is False),
            )
        )
    return results
