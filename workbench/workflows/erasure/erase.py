"""Erasing people: accept their requests, then carry out everything that waits."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import Row, select

from workbench.erasure.intake import Asked, Malformed, by_key
from workbench.erasure.locate import Pair, Subject, locate
from workbench.erasure.request import OPEN, Receipt, reason_of, submit_person, waiting
from workbench.errors import (
    ApprovalRequiredError,
    BusyError,
    InputError,
    KnownRequestError,
    NotFoundError,
    WorkbenchError,
    exit_code_of,
    told,
)
from workbench.progress import Progress, silent
from workbench.state.roles import allowed, internal
from workbench.state.tables import requests
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.execute import Fault, Outcome, plans_for
from workbench.workflows.erasure.identities import chosen_datasets, identities_of
from workbench.workflows.erasure.results import (
    Answer,
    DetachedErasure,
    DetachedJob,
    ErasedAnswer,
    ErasureResult,
    PlannedErasure,
    RefusedAnswer,
    RequestAnswer,
    WaitingAnswer,
)
from workbench.workflows.erasure.run_waiting import detach_erasures, erase_waiting

Kind = TypeVar("Kind", bound=RequestAnswer)


@dataclass(frozen=True)
class _Submitted:
    """A request that was recorded, and the open one of the same person that it repeats, if it does."""

    answer: RequestAnswer
    duplicate_of: str | None

    @property
    def meant(self) -> str:
        """The request that stands for the person."""
        return self.duplicate_of or self.answer.request


@allowed("operate")
def erase(
    workspace: Workspace,
    keys: Sequence[str | Asked],
    *,
    dataset: str | None = None,
    malformed: Sequence[Malformed] = (),
    dry_run: bool = False,
    progress: Progress = silent,
) -> ErasureResult:
    """Erases the subjects of those keys from `dataset`, or from every data set where there is one identity type only.

    What an intake read of a file may stand among the keys; its `malformed` entries are answered as rejected.
    All that waits in a data set is planned together: one retraining per shard. An unknown subject is answered `rejected`,
    never "erased". Once a request is accepted nothing raises: each is answered for itself, with the `nonce` for its requester
    and the `line` of the file that named them.
    One that could not be carried out stays open; `reason` tells the fault, `exit` its exit code.
    """
    started = time.perf_counter()
    people, refused = _people(workspace, keys, dataset, malformed)
    if dry_run:
        return _dry_run(workspace, people, refused)
    submitted, unaccepted = _submitted(workspace, people)
    outcome, fault = Outcome(done={}, failures=()), None
    try:
        outcome = erase_waiting(workspace, progress, first=[one.meant for one in submitted])
    except (WorkbenchError, OSError) as cause:  # cancelled, for example
        fault = cause
    except KeyboardInterrupt:
        fault = BusyError("it was interrupted", hint="workbench resume goes on")
    answers = _carried_out(workspace, submitted, outcome, fault)
    seconds = round(time.perf_counter() - started, 3)
    return ErasureResult(requests=(*answers, *unaccepted, *refused), seconds=seconds)


@allowed("operate")
def erase_detached(
    workspace: Workspace,
    keys: Sequence[str | Asked],
    *,
    dataset: str | None = None,
    malformed: Sequence[Malformed] = (),
) -> DetachedErasure:
    """Accepts requests as `erase` does, with everyone quarantined at once, and has a process of its own carry them out."""
    started = time.perf_counter()
    people, refused = _people(workspace, keys, dataset, malformed)
    submitted, unaccepted = _submitted(workspace, people)
    job: DetachedJob | None = None
    try:
        job, going = detach_erasures(workspace)
        rows, _ = _rows(workspace, submitted)
    except (WorkbenchError, OSError) as fault:
        answers = _carried_out(workspace, submitted, Outcome(done={}, failures=()), fault)
    else:
        begun = [_going(one, going) for one in submitted]
        answers = [_standing(answer, rows.get(answer.request)) for answer in begun]
    seconds = round(time.perf_counter() - started, 3)
    return DetachedErasure(requests=(*answers, *unaccepted, *refused), job=job.job if job else None, seconds=seconds)


def _people(
    workspace: Workspace, keys: Sequence[str | Asked], dataset: str | None, malformed: Sequence[Malformed]
) -> tuple[dict[Asked, list[Pair]], list[RefusedAnswer]]:
    """Each request with its person's key in each data set it is about, and the answers to what is none."""
    if dataset is not None:
        chosen_datasets(workspace, dataset)
    asked = [one if isinstance(one, Asked) else by_key(one) for one in keys]
    refused = [_rejected(f"line {one.line}: {one.reason}", InputError.exit_code) for one in malformed]
    if not asked and not refused:
        raise InputError("no key was given", hint="name keys as arguments, or --file FILE (- for standard input)")
    people: dict[Asked, list[Pair]] = {}
    for one in dict.fromkeys(asked):
        try:
            people[one] = identities_of(workspace, one, dataset)
        except (InputError, NotFoundError) as fault:
            if one.dataset is None and one.identities[0].type is None:  # then it holds for every key
                raise
            refused.append(_rejected(f"line {one.line}: {fault}", fault.exit_code))
    return people, refused


def _submitted(
    workspace: Workspace, people: Mapping[Asked, Sequence[Pair]]
) -> tuple[list[_Submitted], list[RefusedAnswer]]:
    """The answers to what was submitted, and to what could not be.

    Raises the fault where nobody was accepted before it: who was must be told. A known request id is the fault of its entry
    alone: it never keeps the rest of a file from being accepted.
    """
    submitted: list[_Submitted] = []
    unaccepted: list[RefusedAnswer] = []
    for one, person in people.items():
        try:
            receipt = submit_person(workspace, person, request_id=one.request_id)
            submitted.append(_Submitted(_answer(workspace, receipt, one), receipt.duplicate_of))
        except (WorkbenchError, OSError) as fault:
            if not isinstance(fault, KnownRequestError) and not any(s.answer.nonce for s in submitted):
                raise
            unaccepted.append(_rejected(f"line {one.line}: {told(fault)}", exit_code_of(fault)))
    return submitted, unaccepted


def _carried_out(
    workspace: Workspace, submitted: Sequence[_Submitted], outcome: Outcome, fault: Fault | None
) -> list[RequestAnswer]:
    """The answers once everything that waited was tried; a duplicate gets that of the request it repeats.

    `fault` is what kept the rest from being tried.
    """
    due: set[str] = set()
    try:
        rows, due = _rows(workspace, submitted)
    except (WorkbenchError, OSError) as unread:
        rows, fault = {}, fault or unread
    final: list[RequestAnswer] = []
    for one in submitted:
        answer, request = one.answer, one.meant
        row = rows.get(request)
        causes = (
            f.fault
            for f in outcome.failures
            if row is None or request in f.requests or not f.datasets.isdisjoint(row.datasets)
        )
        cause = next(causes, fault)
        if request in outcome.done:
            final.append(_become(ErasedAnswer, answer, **vars(outcome.done[request]), reason=None, exit=0))
        elif row is not None and row.status == "completed" and answer.status != "completed":  # by another process
            certificate = str(workspace.root / row.certificate)
            done = {"status": "completed", "certificate": certificate, "reason": None, "exit": 0}
            final.append(_become(RequestAnswer, answer, request=request, **done))
        elif cause is not None and _was_tried(answer, row, due):
            left = {"status": row.status if row else answer.status, "reason": told(cause)}
            final.append(_become(RequestAnswer, answer, request=request, **left, exit=exit_code_of(cause)))
        else:
            final.append(_standing(answer, row))
    return final


def _become(kind: type[Kind], answer: RequestAnswer, **changes: Any) -> Kind:
    """An answer with what became of its request since."""
    return kind(**{**vars(answer), **changes})


def _rows(workspace: Workspace, submitted: Sequence[_Submitted]) -> tuple[dict[str, Row[Any]], set[str]]:
    """The rows of all requests that are answered, by id, and which requests may be carried out now."""
    named = {request for one in submitted for request in (one.answer.request, one.meant)}
    with workspace.engine.connect() as connection:
        found = connection.execute(select(requests).where(requests.c.id.in_(named)))
        return {row.id: row for row in found}, set(waiting(connection))


def _was_tried(answer: RequestAnswer, row: Any, due: Collection[str]) -> bool:
    """Whether a request is open and waits for nothing but its erasure; without its row, whether it was accepted."""
    if row is None:
        return answer.status in OPEN
    return row.status in OPEN and (row.status != "quarantined" or row.id in due)


def _going(one: _Submitted, going: Collection[str]) -> RequestAnswer:
    """The answer, as that of the request it repeats where a process of its own will carry that out."""
    if one.meant not in going:
        return one.answer
    return replace(one.answer, request=one.meant, status="quarantined", reason=None, exit=0)


def _standing(answer: RequestAnswer, row: Any) -> RequestAnswer:
    """The answer with what an accepted request waits for, if for anything: planning may have found that it costs too much."""
    if answer.status != "quarantined" or row is None:
        return answer
    return _become(WaitingAnswer, answer, reason=reason_of(row), not_before=row.not_before)


def _answer(workspace: Workspace, receipt: Receipt, one: Asked) -> RequestAnswer:
    """The answer to a recorded request, with the line of the file, by which the receipt gets to the right person."""
    return RequestAnswer(
        request=receipt.id,
        status=receipt.status,
        certificate=str(workspace.root / receipt.certificate) if receipt.certificate else None,
        due=receipt.due,
        nonce=receipt.nonce,
        reason=receipt.reason,
        line=one.line or None,
        exit=exit_of(receipt.status, malformed=receipt.malformed),
    )


@internal
def exit_of(status: str, *, malformed: bool = False) -> int:
    """The exit code that tells a request's status to a script."""
    if status == "completed":
        return 0
    if status == "rejected":
        return InputError.exit_code if malformed else NotFoundError.exit_code
    if status in ("denied", "cancelled"):
        return InputError.exit_code
    return ApprovalRequiredError.exit_code if status == "quarantined" else BusyError.exit_code


def _rejected(reason: str, exit_code: int) -> RefusedAnswer:
    return RefusedAnswer(reason=reason, exit=exit_code)


def _dry_run(
    workspace: Workspace, people: Mapping[Asked, Sequence[Pair]], refused: Sequence[RefusedAnswer]
) -> ErasureResult:
    answers: list[Answer] = []
    subjects: list[Subject] = []
    for one, identities in people.items():
        found = locate(workspace, identities)
        subjects += found
        if not found:
            names = ", ".join(sorted({name for name, _ in identities}))
            where = f"line {one.line}: " if one.line else ""
            reason = f"{where}nothing found of this subject in {names}"
            answers.append(_rejected(reason, NotFoundError.exit_code))
    plans, unknown = plans_for(workspace, subjects), len(answers)
    if plans:
        shards = tuple(sorted({shard for p in plans for shard in p.shards}))
        answers.insert(0, Answer(request=None, status="planned", shards=shards))
    return ErasureResult(
        requests=(*answers, *refused),
        people=len(people) - unknown,
        plan=tuple(map(PlannedErasure.of, plans)),
        seconds=0.0,
    )
