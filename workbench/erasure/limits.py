"""Limits against abuse: windows against probing, a rate and a cost against floods.

None of them refuses anybody (erasure is a right) and none touches the quarantine: they decide when a request is carried out
and whether a person has to approve it first.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import Connection, String, cast, func, select

from workbench.data import catalog
from workbench.erasure.policy import ErasurePolicy
from workbench.state import journal
from workbench.state.tables import requests

if TYPE_CHECKING:
    from workbench.erasure.locate import Subject
    from workbench.erasure.plan import ErasurePlan


def policies_of(connection: Connection, datasets: Iterable[str]) -> dict[str, ErasurePolicy]:
    """The policy of each data set."""
    return {name: ErasurePolicy.model_validate(catalog.entry(connection, name).policy) for name in datasets}


def window_end(policies: Collection[ErasurePolicy], due: str) -> str | None:
    """When the longest window open now ends; never after `due`. None where there is no window.

    Windows are counted from 1970-01-01T00:00Z: a requester can't move an end, and those of whole days end at midnight UTC.
    """
    seconds = 3600 * max(policy.window_hours for policy in policies)
    if not seconds:
        return None
    now = dt.datetime.fromisoformat(journal.now()).timestamp()
    end = dt.datetime.fromtimestamp((now // seconds + 1) * seconds, dt.UTC)
    return min(end.isoformat(timespec="seconds"), due)


def crowded(connection: Connection, policies: dict[str, ErasurePolicy]) -> str | None:
    """Why one more request has to wait for approval: as many as a policy allows were accepted in the last 24 hours."""
    since = (dt.datetime.fromisoformat(journal.now()) - dt.timedelta(hours=24)).isoformat(timespec="seconds")
    for name, policy in policies.items():
        if policy.max_per_day is not None:
            same = func.instr(cast(requests.c.datasets, String), f'"{name}"') > 0
            accepted = (requests.c.received > since) & (requests.c.status != "rejected") & same
            count = connection.execute(select(func.count()).select_from(requests).where(accepted)).scalar() or 0
            if count >= policy.max_per_day:
                return f"waits for approval: more than {policy.max_per_day} requests of data set {name} within 24 hours"
    return None


def affordable(
    connection: Connection, subjects: Sequence[Subject], plans_for: Callable[[Sequence[Subject]], Sequence[ErasurePlan]]
) -> list[Subject]:
    """The subjects whose requests may be carried out now; those of a plan that costs too much wait for approval from here on.

    Requests that a person approved are carried out whatever they cost, and count for nobody else's cost.
    In the caller's write transaction.
    """
    policies = policies_of(connection, sorted({subject.dataset for subject in subjects}))
    if all(policy.max_retrain_seconds is None for policy in policies.values()):
        return list(subjects)
    given = (requests.c.approval == "given") & (requests.c.status == "quarantined")
    approved = set(connection.execute(select(requests.c.id).where(given)).scalars())
    held: set[str] = set()
    for plan in plans_for([subject for subject in subjects if subject.request not in approved]):
        most = policies[plan.dataset].max_retrain_seconds
        if most is not None and plan.predicted_seconds > most:
            _hold(
                connection,
                set(plan.requests) - held,
                f"waits for approval: training {plan.dataset} again costs too much",
            )
            held.update(plan.requests)
    return [subject for subject in subjects if subject.request not in held]


def _hold(connection: Connection, request_ids: Collection[str], reason: str) -> None:
    values = {"approval": "waiting", "reason": reason}
    connection.execute(requests.update().where(requests.c.id.in_(request_ids)).values(**values))
    for request in sorted(request_ids):
        journal.append(connection, "HELD", request=request)
