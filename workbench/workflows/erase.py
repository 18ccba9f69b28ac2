"""Erasing people: accept their requests, then carry out everything that waits."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.data import catalog
from workbench.erasure.request import Subject, locate, submit
from workbench.errors import ApprovalRequiredError, InputError, NotFoundError
from workbench.progress import Progress, silent
from workbench.workflows.execute import carry_out_waiting, plans_for
from workbench.workspace import Workspace

Answer = dict[str, Any]


def erase(
    workspace: Workspace,
    keys: Sequence[str],
    *,
    dataset: str | None = None,
    dry_run: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Erases the subjects of those keys from `dataset`, or from every data set where there is one identity type only.

    All that waits is planned together: one retraining per shard. An unknown subject is answered `rejected`, never
    "erased". Raises CheckFailedError, with the requests left open, where the verification finds anything.
    """
    started = time.perf_counter()
    datasets = chosen_datasets(workspace, dataset)
    if not keys:
        raise InputError("no key was given", hint="name keys as arguments, or --file FILE (- for standard input)")
    keys = list(dict.fromkeys(keys))
    if dry_run:
        return _dry_run(workspace, datasets, keys)
    answers = [_submit(workspace, datasets, key) for key in keys]
    done = carry_out_waiting(workspace, progress)
    answers = [_completed(answer, done) for answer in answers]
    return {"requests": answers, "seconds": round(time.perf_counter() - started, 3)}


def chosen_datasets(workspace: Workspace, dataset: str | None) -> list[str]:
    """The data sets that a key is about: the one named, or all, where one identity type covers them."""
    with workspace.engine.connect() as connection:
        if dataset is not None:
            return [catalog.entry(connection, dataset).name]
        names = catalog.names(connection)
        types = {catalog.entry(connection, name).schema.identity_type for name in names}
    if not names:
        raise NotFoundError("the workspace has no data set", hint="workbench ingest NAME")
    if len(types) > 1:
        raise InputError(
            f"the data sets {names} identify people in different ways, so a key alone is ambiguous",
            hint="add --dataset NAME",
        )
    return names


def _completed(answer: Answer, done: Mapping[str, Answer]) -> Answer:
    """The answer once everything that waited was carried out; a duplicate gets that of the request it repeats."""
    request = answer.pop("duplicate_of", None) or answer["request"]
    return answer | {"request": request, "reason": None, "exit": 0} | done[request] if request in done else answer


def _submit(workspace: Workspace, datasets: Sequence[str], key: str) -> Answer:
    receipt = submit(workspace, datasets, key)
    refused = InputError.exit_code if receipt.malformed else NotFoundError.exit_code
    return {
        "request": receipt.id,
        "status": receipt.status,
        "shards": [],
        "certificate": None,
        "due": receipt.due,
        "nonce": receipt.nonce,
        "reason": receipt.reason,
        "duplicate_of": receipt.duplicate_of,
        "exit": refused if receipt.status == "rejected" else ApprovalRequiredError.exit_code,
    }


def _rejected(reason: str, exit_code: int) -> Answer:
    return {
        "request": None,
        "status": "rejected",
        "shards": [],
        "certificate": None,
        "reason": reason,
        "exit": exit_code,
    }


def _dry_run(workspace: Workspace, datasets: Sequence[str], keys: Sequence[str]) -> dict[str, Any]:
    answers: list[Answer] = []
    subjects: list[Subject] = []
    for key in keys:
        found = locate(workspace, datasets, key)
        subjects += found
        if not found:
            answers.append(
                _rejected(f"nothing found of this subject in {', '.join(datasets)}", NotFoundError.exit_code)
            )
    plans = plans_for(workspace, subjects)
    if plans:
        shards = sorted({shard for p in plans for shard in p.shards})
        answers.insert(0, {"request": None, "status": "planned", "shards": shards, "certificate": None})
    return {"requests": answers, "plan": [p.to_json() for p in plans], "seconds": 0.0}
