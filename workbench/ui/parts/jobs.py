"""Long work, as the pages show it: what is under way, how far it is, and how it ended. The work goes on without the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from workbench.jobs.detail import NEW
from workbench.ui.parts import session
from workbench.ui.parts.shards import training_map
from workbench.ui.parts.words import FAULTS, KINDS, moment, plain
from workbench.workflows.operations.jobs import cancel_job, list_jobs
from workbench.workflows.operations.results import JobDetails

SECONDS = 1.0
_SEEN = "jobs-seen"
_ACTIVE = ("waiting", "running")


def watch(*kinds: str, maps: bool = False) -> None:
    """Jobs of these kinds that are under way, live, with `maps` of what they train; when one ends, the page is shown anew."""
    if not _active(kinds):
        return

    def part() -> None:
        active = _active(kinds)
        ids = sorted(job.job for job in active)
        before = st.session_state.get(_SEEN)
        st.session_state[_SEEN] = ids
        if before is not None and set(before).difference(ids):
            st.session_state.pop(_SEEN)
            st.rerun(scope="app")
        for job in active:
            _bar(job, maps=maps)

    session.live(SECONDS)(part)()


def failed(*kinds: str) -> list[JobDetails]:
    """Jobs of these kinds that came to no end and that nobody began anew since: one that went well beside them hides none."""
    over = [job for job in list_jobs(session.workspace()).jobs if job.kind in kinds]
    over = [job for job in over if job.status not in _ACTIVE or job.lost]
    begun = max((str(job.created) for job in over), default="")
    return [job for job in over if (job.status == "failed" or job.lost) and str(job.updated) >= begun]


def detail(kind: str, part: str) -> dict[str, Any] | None:
    """What the job of a kind that is under way tells of a part of its work, if it does."""
    return next((job.detail[part] for job in _active([kind]) if part in job.detail), None)


def told_fault(job: JobDetails) -> str:
    """How a job came to no end, in words."""
    if job.lost:
        return "its process died; start it again"
    if job.status == "cancelled":
        return "it was cancelled; what it had begun was taken back"
    code = str(job.result.get("error", ""))
    return FAULTS.get(code, f"an unexpected fault ({code})")


def show_fault(*kinds: str) -> None:
    """Says so where jobs of these kinds came to no end."""
    for job in failed(*kinds):
        when = moment(job.updated)
        st.warning(f"{KINDS[job.kind]} came to no end ({when}): {told_fault(job)}.", icon=":material/warning:")


def _active(kinds: Sequence[str]) -> list[JobDetails]:
    jobs = list_jobs(session.workspace()).jobs
    return [job for job in jobs if job.kind in kinds and job.status in _ACTIVE and not job.lost]


def _bar(job: JobDetails, *, maps: bool) -> None:
    with st.container(border=True):
        bar, stop = st.columns([6, 1], vertical_alignment="center")
        doing = plain(job.text) or "starting"
        bar.progress(min(1.0, job.progress), text=f"**{KINDS.get(job.kind, job.kind)}**: {doing}")
        if job.cancel:
            stop.caption("stopping")
        elif session.may("operate") and stop.button("Cancel", key=f"cancel-{job.job}"):
            cancel_job(session.workspace(), job.job)
            st.rerun(scope="fragment")
        if maps and NEW in job.detail:
            training_map(job.detail[NEW])
        bar.caption("You may leave or close this page: the work goes on.")
