"""Carrying erasures out: what was interrupted first, then all that waits, planned together by data sets."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, select

from workbench.data import catalog
from workbench.erasure import saga
from workbench.erasure.limits import affordable
from workbench.erasure.locate import Subject
from workbench.erasure.plan import ErasurePlan, plan
from workbench.erasure.policy import ErasurePolicy
from workbench.erasure.request import advance, joined, subjects_of, waiting
from workbench.erasure.saga import Erasure
from workbench.errors import BusyError, HeldError, InputError, LockedError, WorkbenchError, exit_code_of
from workbench.jobs.worker import CancelledError
from workbench.progress import Progress, silent
from workbench.state import lineage, writing
from workbench.state.roles import allowed, internal
from workbench.state.tables import requests
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.append import finish_append, finish_appends
from workbench.workflows.datasets.uploads import sweep_uploads
from workbench.workflows.erasure.certify import certify
from workbench.workflows.erasure.check_erasure import held_error
from workbench.workflows.erasure.results import ErasedRequest
from workbench.workflows.erasure.steps import STEPS
from workbench.workflows.synthesis.fit_release import sweep_releases, unrecorded
from workbench.workflows.synthesis.fit_runs import end_runs_of_the_dead
from workbench.workflows.training.publish_version import (
    current_versions,
    read_manifest,
)

Fault = WorkbenchError | OSError
Held = Literal["all", "due"]
_HELD_SECONDS = 600  # between two tries at what is held: each reads every byte of the workspace


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An erasure or append that could not be carried out, and the data sets it leaves as they were.

    What is held leaves no data set as it was: it names its requests alone.
    """

    fault: Fault
    datasets: frozenset[str]
    requests: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was carried out, by request id, and what could not be: data sets that share no request don't wait for each other."""

    done: Mapping[str, ErasedRequest]
    failures: tuple[Failure, ...]

    @property
    def exit_code(self) -> int:
        """0, or the worst of the failures."""
        return max((exit_code_of(failure.fault) for failure in self.failures), default=0)

    def results(self) -> dict[str, ErasedRequest]:
        """What was done; raises the first fault where there is one, which says how many more there are."""
        if self.failures:
            raise _told(self.failures[0].fault, others=len(self.failures) - 1)
        return dict(self.done)


@internal
def carry_out_waiting(workspace: Workspace, progress: Progress = silent) -> dict[str, ErasedRequest]:
    """Carries out all that is interrupted or waits; raises the first fault once everything was tried, see `carry_out`."""
    return carry_out(workspace, progress).results()


@internal
def carry_out(
    workspace: Workspace,
    progress: Progress = silent,
    *,
    first: Collection[str] = (),
    held: Held = "due",
) -> Outcome:
    """Finishes what was interrupted, then carries out all requests that wait: planned together where they share a data set.

    Each group locks its own data sets only, and its failure keeps no other from being tried. Groups of the requests `first`
    come first, so that processes at work at the same time each begin with their own. What is held comes last: all of it, or of
    what was not tried for some minutes (`due`) the one request that was tried longest ago.
    """
    before = _resume(workspace, progress)
    done, failures = dict(before.done), list(before.failures)
    with workspace.engine.connect() as connection:
        groups = _groups(subjects_of(connection, waiting(connection)))
    stuck = {dataset for failure in failures for dataset in failure.datasets}
    for datasets in sorted(groups, key=lambda group: groups[group].isdisjoint(first)):
        if datasets.isdisjoint(stuck):
            try:
                group = _carry_out_group(workspace, datasets, progress)
                done |= group.done
                failures += group.failures
            except CancelledError:
                raise
            except (WorkbenchError, OSError) as fault:
                failures.append(Failure(fault=fault, datasets=datasets))
    return _with_held(workspace, progress, held, Outcome(done=done, failures=tuple(failures)))


@internal
def resume(workspace: Workspace, progress: Progress = silent) -> dict[str, ErasedRequest]:
    """Finishes what was interrupted: appends, and erasures from their last finished step; returns those by request id.

    Raises the first fault once everything was tried.
    """
    return _with_held(workspace, progress, "all", _resume(workspace, progress)).results()


@internal
def held_to_try(connection: Connection, held: Held) -> list[Erasure]:
    """The held erasures to be tried now: all, or of those not tried for some minutes the one tried longest ago."""
    waits = [erasure for erasure in saga.unfinished(connection) if erasure.held]
    if held == "all":
        return waits
    due = [erasure for erasure in waits if not 0 <= time.time() - erasure.tried < _HELD_SECONDS]
    return sorted(due, key=lambda erasure: erasure.tried)[:1]


@allowed("operate", "decide")
def recover_interrupted(workspace: Workspace) -> Outcome:
    """Finish what was interrupted, as every door does before it writes. What is held is left alone.

    What can't be finished keeps its quarantine and holds up no reader; the workspace keeps the reason for `exclusive`, which
    refuses to write the data sets concerned.
    """
    outcome = _resume(workspace, silent)
    workspace.hindrances.clear()
    for dataset in frozenset().union(*(failure.datasets for failure in outcome.failures)):
        mine = [failure for failure in outcome.failures if dataset in failure.datasets]
        workspace.hindrances[dataset] = _told(mine[0].fault, others=len(mine) - 1)
    return outcome


def _resume(workspace: Workspace, progress: Progress) -> Outcome:
    """Finishes what was interrupted, once what killed processes left half done is removed. What is held is left alone."""
    failures: list[Failure] = []
    try:
        failures += [Failure(fault=_left(part), datasets=frozenset()) for part in workspace.clear()]
        sweep_uploads(workspace)
    except OSError as fault:  # what is left may be rows; it concerns no data set, and hinders none
        failures.append(Failure(fault=fault, datasets=frozenset()))
    for name, unfinished in finish_appends(workspace).items():
        failures.append(Failure(fault=unfinished, datasets=frozenset([name])))
    done: dict[str, ErasedRequest] = {}
    with workspace.engine.connect() as connection:
        begun = saga.in_the_way(connection)
    for erasure in begun:
        outcome = _tried(erasure, frozenset(erasure.datasets), lambda e: _finish(workspace, e, progress))
        done |= outcome.done
        failures += outcome.failures
    _sweep_fits(workspace)
    _sweep_records(workspace)
    return Outcome(done=done, failures=tuple(failures))


def _tried(erasure: Erasure, stuck: frozenset[str], go_on: Callable[[Erasure], Outcome]) -> Outcome:
    """The outcome of going on with an unfinished erasure; a fault leaves these data sets as they were."""
    try:
        return go_on(erasure)
    except CancelledError:
        raise
    except (WorkbenchError, OSError) as fault:
        failure = Failure(fault=fault, datasets=stuck, requests=frozenset(erasure.requests))
        return Outcome(done={}, failures=(failure,))


def _finish(workspace: Workspace, erasure: Erasure, progress: Progress) -> Outcome:
    """Takes every step that is left of an erasure under the locks of its data sets, unless another process did."""
    with _locked(workspace, erasure.datasets):
        with workspace.engine.connect() as connection:
            current = saga.find(connection, erasure.id)
        return _carry_out(workspace, current, progress) if current else Outcome(done={}, failures=())


def _with_held(workspace: Workspace, progress: Progress, held: Held, outcome: Outcome) -> Outcome:
    """An outcome with that of requests that were held before, all of them or one that is due."""
    with workspace.engine.connect() as connection:
        waits = held_to_try(connection, held)
    aside = {request for failure in outcome.failures for request in failure.requests}  # a moment ago
    waits = [erasure for erasure in waits if aside.isdisjoint(erasure.requests)]
    more = [_tried(erasure, frozenset(), lambda e: _search_again(workspace, e, progress)) for erasure in waits]
    done = dict(outcome.done)
    for one in more:
        done |= one.done
    return Outcome(done=done, failures=(*outcome.failures, *(failure for one in more for failure in one.failures)))


def _search_again(workspace: Workspace, erasure: Erasure, progress: Progress) -> Outcome:
    """Searches again for what is left of a held request's person, and certifies the request where that is nothing.

    The search reads every byte and may train shards again, so no data set is locked for it; what is left to do then is.
    """
    with writing(workspace.engine) as connection:
        current = saga.find(connection, erasure.id)
        if current is None or current.tried != erasure.tried:  # another process is at it
            return Outcome(done={}, failures=())
        current = current.model_copy(update={"tried": time.time()})
        saga.save(connection, current)
    if current.step == "purged":
        _take_step(workspace, current, progress)
    return _finish(workspace, current, progress)


def _left(part: Path) -> InputError:
    return InputError(f"{part} was left by a process that was killed, and can't be removed", hint="remove it by hand")


def _sweep_fits(workspace: Workspace) -> None:
    """Remove what fits whose process died left, and end their MLflow runs; an unfinished erasure does so for its own."""
    for name in _without_erasure(workspace):
        if unrecorded(workspace, name):
            with suppress(LockedError), workspace.lock(name):  # whoever makes a release holds the lock
                if name in _without_erasure(workspace):
                    sweep_releases(workspace, name, fits=False)  # a charged fit resumes from its notes
        end_runs_of_the_dead(workspace, name)


def _sweep_records(workspace: Workspace) -> None:
    """Delete bucket files that killed writers left: no bucket is read from them, yet a person who is gone may be in one."""
    with workspace.engine.connect() as connection:
        names = catalog.names(connection)
        left = [name for name in names if catalog.store(connection, workspace, name).strays()]
    for name in left:
        # whoever writes files holds the lock; what an append has put there, it puts there again
        with suppress(LockedError), workspace.lock(name), workspace.engine.connect() as connection:
            catalog.sweep_strays(connection, workspace, name)


def _without_erasure(workspace: Workspace) -> list[str]:
    """Return the data sets that no unfinished erasure concerns."""
    with workspace.engine.connect() as connection:
        unfinished = {dataset for erasure in saga.in_the_way(connection) for dataset in erasure.datasets}
        return [name for name in catalog.names(connection) if name not in unfinished]


def _carry_out_group(workspace: Workspace, datasets: frozenset[str], progress: Progress) -> Outcome:
    with _locked(workspace, datasets):
        erasure = _begin(workspace, datasets)
        return _carry_out(workspace, erasure, progress) if erasure else Outcome(done={}, failures=())


def _groups(subjects: Iterable[Subject]) -> dict[frozenset[str], set[str]]:
    """Requests by the data sets they concern; those that share one, at whatever remove, are one group."""
    asked: dict[str, set[str]] = {}
    for subject in subjects:
        asked.setdefault(subject.request, set()).add(subject.dataset)
    groups: dict[frozenset[str], set[str]] = {}
    for request, datasets in asked.items():
        joined = [group for group in groups if not group.isdisjoint(datasets)]
        together = {request}.union(*(groups.pop(group) for group in joined))
        groups[frozenset(datasets).union(*joined)] = together
    return groups


def _told(fault: Fault, *, others: int) -> Fault:
    """The fault, with how many more there were in its message."""
    if not others or isinstance(fault, OSError):
        return fault
    return type(fault)(f"{fault}; {others} more could not be finished either", hint=fault.hint)


@contextmanager
def _locked(workspace: Workspace, datasets: Iterable[str]) -> Iterator[None]:
    with ExitStack() as locks:
        for dataset in sorted(datasets):
            locks.enter_context(workspace.lock(dataset))
            finish_append(workspace, dataset)
        yield


@internal
def plans_for(workspace: Workspace, subjects: Sequence[Subject]) -> list[ErasurePlan]:
    """The plan of each data set that the subjects are in."""
    plans = []
    for dataset in sorted({subject.dataset for subject in subjects}):
        with workspace.engine.connect() as connection:
            artifacts = lineage.find(connection, dataset=dataset)
            manifests = [read_manifest(workspace, a) for a in current_versions(connection, dataset).values()]
            entry = catalog.entry(connection, dataset)
        policy = ErasurePolicy.model_validate(entry.policy)
        mine = [subject for subject in subjects if subject.dataset == dataset]
        plans.append(plan(dataset, mine, manifests, artifacts, policy, entry.bits))
    return plans


def _begin(workspace: Workspace, datasets: Collection[str]) -> Erasure | None:
    """Plans the requests that wait in these data sets alone, and makes the plan durable.

    All in one write transaction, so that nobody withdraws a request between its planning and its beginning.
    """
    with writing(workspace.engine) as connection:
        subjects = subjects_of(connection, waiting(connection))
        outside = {subject.request for subject in subjects if subject.dataset not in datasets}  # accepted a moment ago
        subjects = [subject for subject in subjects if subject.request not in outside]
        subjects = affordable(connection, subjects, partial(plans_for, workspace))
        if not subjects:
            return None
        subjects += joined(connection, subjects)
        unfinished = {dataset for erasure in saga.in_the_way(connection) for dataset in erasure.datasets}
        if not unfinished.isdisjoint(datasets):  # its process died since we looked
            raise BusyError(f"an erasure in {', '.join(sorted(datasets))} is not finished", hint="workbench resume")
        erasure = Erasure(
            id=f"erasure-{secrets.token_hex(6)}",
            step="planned",
            requests=tuple(sorted({subject.request for subject in subjects})),
            datasets={p.dataset: saga.dataset_state(p) for p in plans_for(workspace, subjects)},
            started=time.time(),
        )
        saga.create(connection, erasure)
        advance(connection, erasure.requests, "planned")
    return erasure


def _carry_out(workspace: Workspace, erasure: Erasure, progress: Progress) -> Outcome:
    """Runs every step that is left. A fault leaves the requests `failed`, quarantined and resumable.

    Requests that are found to be held are among the failures; the others are done.
    """
    everyone = frozenset(erasure.requests)
    try:
        workspace.clear()
        sweep_uploads(workspace)
        while erasure.step != "shredded":
            erasure = _take_step(workspace, erasure, progress)
        done = certify(workspace, erasure)
    except HeldError as fault:
        return Outcome(done={}, failures=(Failure(fault=fault, datasets=frozenset(), requests=everyone),))
    except (WorkbenchError, OSError) as fault:
        # What is at fault may be that nothing can be written; then the requests stay as they are, resumable too
        with suppress(WorkbenchError, OSError), writing(workspace.engine) as connection:
            over = set(connection.execute(select(requests.c.id).where(requests.c.status == "completed")).scalars())
            if not erasure.held:
                reason = getattr(fault, "code", "file")
                advance(connection, set(erasure.requests) - over, "failed", reason=reason)
        raise
    return Outcome(done=done, failures=tuple(_held(workspace, everyone.difference(erasure.requests))))


def _take_step(workspace: Workspace, erasure: Erasure, progress: Progress) -> Erasure:
    """Takes the next step of an erasure and records it, unless another process went on with a held one in between."""
    target, step = STEPS[erasure.step]
    after, commit = step(workspace, erasure, progress)
    after = after.model_copy(update={"step": target})
    with writing(workspace.engine) as connection:
        stored = saga.find(connection, erasure.id)
        if stored is not None and stored.step == erasure.step:
            commit(connection)
            saga.save(connection, after)
    return after


def _held(workspace: Workspace, put_aside: Set[str]) -> Iterator[Failure]:
    """What is said of requests that were put aside while the others were carried out."""
    with workspace.engine.connect() as connection:
        held = [erasure for erasure in saga.unfinished(connection) if erasure.held]
    for erasure in held:
        if not put_aside.isdisjoint(erasure.requests):
            yield Failure(fault=held_error(erasure), datasets=frozenset(), requests=frozenset(erasure.requests))
