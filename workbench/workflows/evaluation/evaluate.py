"""Evaluating a release, an ensemble or an erasure: measures, verdicts and what a report draws, as one document.

Evaluations read people's records, so they are internal: registered, logged to MLflow as such, and purged by the next erasure.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from workbench.erasure.left_out import LeftOut, left_out, refuse_newcomers
from workbench.erasure.request import refuse_open_request
from workbench.errors import BusyError, InputError
from workbench.jobs.worker import as_job
from workbench.progress import Progress, silent
from workbench.reports.evaluation_document import Evaluation
from workbench.reports.verdict import VerdictRules, verdicts
from workbench.state import journal, lineage, writing
from workbench.state.atomic_files import finite, remove, sha256, write_atomic
from workbench.state.lineage import Artifact
from workbench.state.roles import allowed
from workbench.state.workspace import Workspace
from workbench.tracking import RunRecord, Tracking, log_run, purge_runs
from workbench.workflows.evaluation.evaluate_ensemble import evaluate_ensemble
from workbench.workflows.evaluation.evaluate_erasure import evaluate_erasure
from workbench.workflows.evaluation.evaluate_release import evaluate_release
from workbench.workflows.evaluation.stored_evaluations import read_rules
from workbench.workflows.evaluation.subject import DEFAULTS, ROWS, Found, Settings, Thing, find_thing
from workbench.workflows.exclusive import exclusive
from workbench.workflows.result import plain
from workbench.workflows.synthesis.measure_release import has_figures, record_figures

_MAKERS: Mapping[str, Callable[[Workspace, Thing, Settings, Progress], Found]] = {
    "release": evaluate_release,
    "ensemble": evaluate_ensemble,
    "erasure": evaluate_erasure,
}
_NOTHING = "nothing is evaluated"
_LIMITS = (
    "Attacks that failed prove nothing: a better one may exist. What differential privacy bounds, it bounds for all of them.",
    "An interval says what other people in the same tables would have given, not what another fit or another seed would.",
)


@allowed("operate")
def evaluate(
    workspace: Workspace,
    name: str,
    *,
    dataset: str | None = None,
    settings: Settings = DEFAULTS,
    rules: Path | VerdictRules | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """The evaluation of a release, an ensemble's current version or an erasure request, in the place of an older one.

    It is made as a job. Of each table at most about `rows` rows are looked at, drawn by subject. Equal seeds give equal
    measures. One measure that fails does not lose the others. Shadow releases are fits of the generator, charged for each if
    it is private.

    People who wait for their erasure are left out, and so is every shard that learnt from them; the document says how many.
    An erasure is not evaluated beside open requests, because its certificate is verified by training on all records.

    Raises NotFoundError for what is not there, BudgetError where the ledger refuses, QuarantinedError where nothing of it may
    be used, BusyError where one more subject of the data set asks to be erased in the meantime: then nothing is left of it.
    """
    if settings.rows < 1:
        raise InputError(f"asked for {settings.rows} rows", hint=f"--rows {ROWS}")
    judged_by = rules if isinstance(rules, VerdictRules) else read_rules(rules)
    config = {"name": name, "dataset": dataset, "rules": judged_by.model_dump(mode="json"), **asdict(settings)}

    done: list[Evaluation] = []

    def work(tell: Progress) -> Mapping[str, str]:
        done.append(_evaluated(workspace, name, dataset, settings, judged_by, tell))
        return {"dataset": done[0].dataset, "evaluation": done[0].id}

    as_job(workspace.engine, "evaluate", config, work, progress)
    return done[0]


def _evaluated(
    workspace: Workspace,
    name: str,
    dataset: str | None,
    settings: Settings,
    judged_by: VerdictRules,
    progress: Progress,
) -> Evaluation:
    thing = find_thing(workspace, name, dataset)
    with exclusive(workspace, thing.dataset, beside_erasures=True):
        thing = find_thing(workspace, name, thing.dataset)  # as it is now that no other process writes
        with workspace.engine.connect() as connection:
            if thing.kind == "erasure":
                refuse_open_request(connection, thing.dataset, _NOTHING)
            thing = replace(thing, left_out=left_out(connection, thing.dataset))
        found = _MAKERS[thing.kind](workspace, thing, settings, _abortable(workspace, thing.left_out, progress))
        evaluation = _document(thing, found, settings, judged_by)
        _publish(workspace, thing, evaluation)
        if thing.kind == "release":
            _restore_figures(workspace, thing)
    return evaluation


def _restore_figures(workspace: Workspace, thing: Thing) -> None:
    """Measure the figures of a release again that an erasure purged; a request accepted at this moment leaves them out."""
    (release,) = thing.artifacts
    with workspace.engine.connect() as connection:
        known = has_figures(connection, release)
    if not known:
        with suppress(BusyError):
            record_figures(workspace, release, thing.left_out)


def _abortable(workspace: Workspace, absent: LeftOut, progress: Progress) -> Progress:
    """Progress whose next report ends an evaluation that may no longer be published."""

    def tell(fraction: float, text: str) -> None:
        with workspace.engine.connect() as connection:
            refuse_newcomers(connection, absent, _NOTHING)
        progress(fraction, text)

    tell(0.0, "reading")
    return tell


def _document(thing: Thing, found: Found, settings: Settings, rules: VerdictRules) -> Evaluation:
    document = {
        "id": thing.evaluation,
        "of": thing.name,
        "kind": thing.kind,
        "dataset": thing.dataset,
        "made": journal.now(),
        "facts": dict(found.facts),
        "measures": [measure.to_json() for measure in found.measures],
        "pictures": plain(found.pictures),
        "sampled": dict(found.sampled) or None,
        "left_out": {"people": len(thing.left_out.points), **found.left_out} if thing.left_out.points else None,
        "settings": asdict(settings) | {"rules": sha256(rules.model_dump_json().encode())},
        "method": list(found.method),
        "limits": list(_LIMITS),
    }
    document = finite(document)
    judged = [verdict.to_json() for verdict in verdicts(document, rules)]
    return Evaluation.read(document | {"verdicts": judged})


def _publish(workspace: Workspace, thing: Thing, evaluation: Evaluation) -> None:
    """Writes the document, logs its measures and records it; what an older evaluation left is removed."""
    with workspace.engine.connect() as connection:
        older = [a for a in lineage.find(connection, dataset=thing.dataset, kind="evaluation") if a.id == evaluation.id]
    content = json.dumps(evaluation.to_json(), allow_nan=False).encode()
    without = sorted(thing.left_out.requests)
    path = Path("evaluations") / thing.dataset / f"{evaluation.id}.{secrets.token_hex(3)}.json"
    tracking = Tracking(workspace.root)
    run = log_run(tracking, _run(thing, evaluation))
    try:
        write_atomic(workspace.root / path, content, mode=0o600)
        artifact = Artifact(
            id=evaluation.id,
            kind="evaluation",
            dataset=thing.dataset,
            derived_from=[*(a.id for a in thing.artifacts), thing.dataset],
            digest=sha256(content),
            path=str(path),
            body={"of": thing.name, "metrics": _estimates(evaluation), "mlflow_run": run, "without": without},
        )
        with writing(workspace.engine) as connection:
            refuse_newcomers(connection, thing.left_out, _NOTHING)
            lineage.remove(connection, [a.id for a in older])
            lineage.record(connection, artifact)
    except BaseException:
        remove(workspace.root / path)
        purge_runs(tracking, run_ids=[run])
        raise
    for artifact in older:
        if artifact.path is not None:
            remove(workspace.root / artifact.path)
    purge_runs(tracking, run_ids=[a.body["mlflow_run"] for a in older])


def _plain(name: str) -> str:
    """A name that MLflow takes: names of columns and of uses are anybody's."""
    return re.sub(r"[^A-Za-z0-9_./-]", "_", name)[:240]


def _estimates(evaluation: Evaluation) -> dict[str, dict[str, float | None]]:
    """The estimates by name, as the document has them: an end that is no finite number is None."""
    measures = evaluation.document["measures"]
    return {m["name"]: m["estimate"] for m in measures if m["estimate"] is not None}


def _run(thing: Thing, evaluation: Evaluation) -> RunRecord:
    metrics: dict[str, float] = {}
    for name, estimate in _estimates(evaluation).items():
        flat = {name if key == "value" else f"{name}_{key}": value for key, value in estimate.items()}
        metrics |= {_plain(key): float(value) for key, value in flat.items() if value is not None}
    return RunRecord(
        experiment=thing.dataset,
        name=f"evaluate {thing.name}",
        kind="evaluation",
        params={key: str(value) for key, value in evaluation.document["facts"].items()},
        metrics=metrics,
        tags={
            "workbench.of": thing.name,
            **{_plain(f"workbench.fit_for.{v.use}"): str(v.holds) for v in evaluation.verdicts},
        },
    )
