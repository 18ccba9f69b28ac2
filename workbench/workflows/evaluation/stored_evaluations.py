"""Evaluations that are there: found by their name or by what was evaluated, and read back."""

from __future__ import annotations

import json
from pathlib import Path

from workbench.config import CONFIGS, read_config
from workbench.errors import InputError, NotFoundError
from workbench.reports.evaluation_document import Evaluation
from workbench.reports.verdict import VerdictRules
from workbench.state import lineage
from workbench.state.atomic_files import sha256
from workbench.state.lineage import Artifact
from workbench.state.roles import internal, open_to_all
from workbench.state.workspace import Workspace
from workbench.workflows.evaluation.results import EvaluationEntry
from workbench.workflows.evaluation.subject import find_thing


@open_to_all
def read_rules(path: Path | None) -> VerdictRules:
    """The thresholds of verdicts: the default ones, or those of a file."""
    return read_config(path or CONFIGS / "verdicts.yaml", VerdictRules)


@open_to_all
def evaluation_of(workspace: Workspace, name: str, dataset: str | None = None) -> Evaluation:
    """The evaluation of that name, or of what was evaluated; raises NotFoundError where there is none."""
    return stored_evaluation(workspace, name, dataset)[0]


@internal
def stored_evaluation(workspace: Workspace, name: str, dataset: str | None = None) -> tuple[Evaluation, Artifact]:
    """As `evaluation_of`, with the artifact that it is."""
    with workspace.engine.connect() as connection:
        known = [a for a in lineage.find(connection, kind="evaluation") if a.path is not None]
    named = [a for a in known if name in (a.id, a.body["of"]) and dataset in (None, a.dataset)]
    if len(named) > 1:
        raise InputError(f"{name} was evaluated on several data sets", hint=f"--dataset {named[0].dataset}")
    if not named:
        stands_for = find_thing(
            workspace, name, dataset
        ).name  # of a generator its release, of an ensemble the current version
        named = [a for a in known if a.body["of"] == stands_for]
    if not named:
        raise NotFoundError(f"{name} has no evaluation", hint=f"workbench evaluate {name}")
    path = workspace.root / str(named[0].path)
    content = path.read_bytes() if path.is_file() else b""
    if sha256(content) != named[0].digest:
        raise InputError(f"the evaluation of {name} is damaged or missing", hint=f"workbench evaluate {name}")
    return Evaluation.read(json.loads(content)), named[0]


@open_to_all
def evaluations(workspace: Workspace) -> list[EvaluationEntry]:
    """The evaluations that are kept, newest first, by id and what they are of."""
    with workspace.engine.connect() as connection:
        found = [a for a in lineage.find(connection, kind="evaluation") if a.path is not None]
    return [EvaluationEntry(id=a.id, of=a.body["of"], dataset=a.dataset, made=a.created) for a in reversed(found)]
