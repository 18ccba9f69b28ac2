"""One erasure request: how it stands, what is decided on it, its shards while they are trained again, its certificate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from workbench.erasure.request import OPEN
from workbench.errors import InputError
from workbench.ui.parts import jobs, places, session
from workbench.ui.parts.shards import erasure_map
from workbench.ui.parts.words import STATUSES, STEPS, day, moment, number, plain, sentence, until
from workbench.workflows.erasure.decide import (
    approve_request,
    cancel_request,
    deny_request,
    release_request,
    show_request,
)
from workbench.workflows.erasure.results import RequestDetails, TimelineEntry
from workbench.workflows.erasure.run_waiting import detach_erasures
from workbench.workflows.evaluation.report import certificate_html


def show(name: str) -> None:
    """The page of one request."""
    places.link("erasure", "All requests")
    st.title("Request")
    one = show_request(session.workspace(), name)
    st.code(one.request, language=None)
    if one.status in OPEN:
        jobs.watch("erase")
    row = st.container(horizontal=True)
    row.metric("Status", STATUSES.get(one.status, (one.status, ""))[0], border=True)
    row.metric(
        "Due",
        until(one.due) if one.status in OPEN else "–",
        border=True,
        help=f"The law allows one month (GDPR Art. 12). Due {moment(one.due)}.",
    )
    row.metric("Received", day(one.received), border=True)
    row.metric("Handed in by", one.actor.split(":", 1)[-1], border=True)
    if one.reason:
        st.warning(plain(sentence(one.reason)), icon=":material/hourglass:")
    with session.reported():
        _decide(one)
    left, right = st.columns([1, 1])
    with left:
        _timeline(one.timeline)
    with right, session.reported():
        _shards(name)
        places.link("lineage", "Follow it through the lineage", id=name)
    if one.certificate:
        with session.reported():
            _certificate(one.request, Path(one.certificate))


def _decide(one: RequestDetails) -> None:
    if one.status not in ("quarantined", "failed"):
        return
    space, name = session.workspace(), one.request
    with st.container(horizontal=True):
        if one.approval == "waiting" and session.may("decide"):
            if st.button("Approve", type="primary"):
                approve_request(space, name)
                detach_erasures(space)
                session.again("Approved.")
            with st.popover("Deny"), st.form("deny", border=False):
                reason = st.text_input("Why, for the requester; it must name nobody", max_chars=500)
                if st.form_submit_button("Deny the request"):
                    deny_request(space, name, _reason(reason))
                    session.again("Denied.")
        elif one.not_before and session.may("decide") and st.button("Carry out before its window ends"):
            release_request(space, name)
            detach_erasures(space)
            session.again("Let out of its window.")
        elif (
            one.approval != "waiting"
            and (session.may("operate") or session.may("decide"))
            and st.button("Carry out now")
        ):
            carry_out()
        may_cancel = session.may("operate") and (session.may("decide") or session.is_me(one.actor))
        if one.status == "quarantined" and may_cancel and st.button("Cancel the request"):
            cancel_request(space, name)
            session.again("Cancelled.")


def _reason(text: str) -> str:
    if not text.strip():
        raise InputError("a denial needs a reason", hint="say why, and name nobody")
    return text.strip()


def carry_out() -> None:
    """Has a process of its own carry out all that waits."""
    job, going = detach_erasures(session.workspace())
    session.again(f"{len(going)} being carried out." if job else "Nothing may be carried out now.")


def _timeline(entries: Sequence[TimelineEntry]) -> None:
    st.subheader("Timeline")
    for entry in entries:
        who = plain(entry.actor.split(":", 1)[-1])
        st.markdown(f"**{moment(entry.at)}** · {STEPS.get(entry.kind, plain(entry.kind))} · {who}")


def _shards(name: str) -> None:
    st.subheader(
        "Shards",
        help="A model is made of parts, each of which saw other people. Only the person's part is trained again.",
    )

    def part() -> None:
        now = show_request(session.workspace(), name)
        ensembles, begun = now.ensembles, now.status == "executing"
        if not ensembles:
            st.caption("No model saw the person.")
        for one in ensembles:
            since = one.current_version if one.current_version != one.version else None
            newer = f" (version {number(since)} is current)" if since else ""
            st.caption(f"{plain(one.ensemble)}, version {number(one.version)}{newer}")
            under_way = jobs.detail("erase", one.ensemble) if begun else None
            erasure_map(
                one.ensemble,
                one.shards,
                waiting=one.waiting,
                retrained=one.retrained,
                detail=under_way,
            )

    if show_request(session.workspace(), name).status in OPEN:
        session.live(1.0)(part)()
    else:
        part()


def _certificate(request: str, path: Path) -> None:
    st.subheader("Certificate")
    content, signer, _ = certificate_html(session.workspace(), path)
    st.caption(f"Signed by {plain(signer)}. The file is the proof; the page is for reading.")
    with st.container(horizontal=True):
        st.download_button("Certificate (JSON)", path.read_bytes(), path.name, "application/json", type="primary")
        st.download_button("Page (HTML)", content, f"{request}.html", "text/html")
    st.iframe(content, height=700, alt=f"Certificate of request {request}")
