"""Erasure: hand in requests, decide on them, see what becomes of them. A request appears by its id; nobody is named."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from workbench.erasure.intake import Intake, by_key, ending_of, parse
from workbench.erasure.request import OPEN
from workbench.errors import InputError
from workbench.ui.pages import request_page as request
from workbench.ui.parts import jobs, places, session
from workbench.ui.parts.sealed import Named, Ticket, forget, seal, unseal
from workbench.ui.parts.shards import erasure_map
from workbench.ui.parts.words import STATUSES, moment, plain, sentence, until
from workbench.workflows.erasure.decide import (
    list_requests,
)
from workbench.workflows.erasure.erase import erase, erase_detached
from workbench.workflows.erasure.results import (
    Answer,
    ErasureResult,
    PlannedErasure,
    RefusedAnswer,
    RequestAnswer,
)
from workbench.workflows.operations.browser_files import verify_upload
from workbench.workflows.operations.overview import overview
from workbench.workflows.operations.results import DatasetSummary

_ROUND, _ANSWER = "erasure-round", "erasure-answer"
_EVERY = "Every data set that identifies people in the same way"
_WAYS = ("One person", "Several, pasted", "A file")


def page() -> None:
    """The whole page, or one request."""
    asked = st.query_params.get("request")
    if asked:
        request.show(asked)
        return
    st.title("Erasure")
    sets = overview(session.workspace()).datasets
    if not sets:
        st.info("There is no data set yet, so nobody can be in one.")
        places.link("data", "Take in a data set")
        return
    jobs.watch("erase")
    _answer()
    titles = ["Requests", "New request", "Verify a certificate"]
    # an answer above moves the tabs, which begin anew then
    answer = st.session_state.get(_ANSWER) or {}
    is_asking = "plan" in answer or "fault" in answer
    listed, new, verified = st.tabs(titles, default=titles[1] if is_asking else titles[0])
    with listed, session.reported():
        _list()
    with new, session.reported():
        _new(sets)
    with verified, session.reported():
        _verify()


def _list() -> None:
    requests = list_requests(session.workspace()).requests
    if not requests:
        st.info("Nobody has asked to be erased yet. Hand in a request under “New request”.")
        return
    rows = [
        {
            "Request": one.request,
            "Status": STATUSES.get(one.status, (one.status, ""))[0],
            "Waits for": (one.reason if one.status in OPEN else None) or "–",
            "Received": moment(one.received),
            "Due": until(one.due) if one.status in OPEN else "–",
        }
        for one in reversed(requests)
    ]
    st.caption("Choose a row to see its plan, timeline and certificate.")
    chosen = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        alt="Erasure requests by id, with status and due date",
    )
    if places_chosen := chosen["selection"]["rows"]:
        st.query_params["request"] = rows[places_chosen[0]]["Request"]
        st.rerun()
    waiting = [one for one in requests if one.status in ("quarantined", "failed") and one.approval != "waiting"]
    if waiting and (session.may("operate") or session.may("decide")) and st.button("Carry out what waits"):
        request.carry_out()


def _new(sets: Sequence[DatasetSummary]) -> None:
    if not session.may("operate"):
        st.info("Your role can look at requests and may not hand them in.")
        return
    st.write(
        "From the moment a request is accepted, what learnt from the person is held back: their shard of each model, while "
        "its other shards go on answering, and each table without a privacy guarantee. Private tables are kept, made again "
        "or retired when the erasure is carried out, as the policy of the data set says."
    )
    way = st.segmented_control("How many?", _WAYS, default=_WAYS[0], required=True, key="erasure-way") or _WAYS[0]
    names = [one.dataset for one in sets]
    dataset = st.selectbox("From which data set?", [_EVERY, *names] if len(names) > 1 else names)
    number_of = st.session_state.setdefault(_ROUND, 0)
    by_row = any(one.by_row for one in sets if one.dataset == dataset)
    what = "Number of the row, counted from 0" if by_row else "Identifier of the person"
    with st.form(f"erasure-ask-{number_of}"):
        read = _inputs(way, what, number_of)
        st.caption("The field is emptied. The people of a plan are kept sealed, for a quarter of an hour at most.")
        asked = st.form_submit_button(
            "Show the plan", type="primary", help="What would be done. No one is quarantined before you confirm it."
        )
    if asked:
        _show_plan(read, None if dataset == _EVERY else dataset)


_Read = Callable[[], Intake]


def _inputs(way: str, what: str, number_of: int) -> _Read:
    if way == _WAYS[0]:
        key = st.text_input(what, autocomplete="off", key=f"erasure-key-{number_of}", max_chars=1000)
        return lambda: Intake(asked=(by_key(_given(key)),), malformed=())
    if way == _WAYS[1]:
        text = st.text_area("One per line", key=f"erasure-text-{number_of}", height=160)
        return lambda: parse(_given(text).encode(), ".txt")
    file = st.file_uploader(
        "A file with one per line, or CSV, JSONL or OpenDSR JSON",
        type=["txt", "csv", "jsonl", "json"],
        key=f"erasure-file-{number_of}",
        max_upload_size=10,
    )
    return lambda: parse(file.getvalue(), ending_of(file.name)) if file else parse(b"", ".txt")


def _given(text: str) -> str:
    if not text.strip():
        raise InputError("nobody was named", hint="enter an identifier, or choose a file")
    return text.strip()


def _show_plan(read: _Read, dataset: str | None) -> None:
    """Plan the requests, empty the field, and keep their people sealed for the button that confirms the plan."""
    st.session_state[_ROUND] += 1  # fields of another name: what was typed is gone with the old ones
    answer: dict[str, Any] = {}
    with session.held(answer):
        intake = read()
        planned = erase(session.workspace(), intake.asked, dataset=dataset, malformed=intake.malformed, dry_run=True)
        answer["plan"] = planned
        if planned.people:
            answer["ticket"] = seal(Named(people=intake.asked, malformed=intake.malformed, dataset=dataset))
    _put_away()
    st.session_state[_ANSWER] = answer
    st.rerun()


def _confirm(ticket: Ticket) -> None:
    """Hand in the requests of the people whose plan was shown."""
    answer: dict[str, Any] = {}
    with session.held(answer):
        named = unseal(ticket)
        if named is None:
            raise InputError(
                "the people of this plan are kept no longer, so none of them was erased", hint="show the plan again"
            )
        answer["receipts"] = erase_detached(
            session.workspace(), named.people, dataset=named.dataset, malformed=named.malformed
        )
    st.session_state[_ANSWER] = answer
    st.rerun()


def _put_away() -> None:
    """Forget the answer that is shown, with the people of a plan that was not confirmed."""
    answer = st.session_state.pop(_ANSWER, None)
    if answer and "ticket" in answer:
        forget(answer["ticket"])


def _answer() -> None:
    """What became of what was handed in, until it is put away: the nonces are told nowhere else."""
    answer = st.session_state.get(_ANSWER)
    if answer is None:
        return
    with st.container(border=True):
        if "fault" in answer:
            st.error(answer["fault"], icon=":material/error:")
        elif "plan" in answer:
            _plan(answer["plan"])
        elif "receipts" in answer:
            _receipts(answer["receipts"].requests)
        with st.container(horizontal=True):
            if "ticket" in answer and session.may("operate"):
                people = answer["plan"].people
                label = "Erase this person" if people == 1 else f"Erase these {people:,} people"
                if st.button(label, type="primary", help="They are quarantined at once. It cannot be undone later."):
                    _confirm(answer["ticket"])
            if st.button("Put away"):
                _put_away()
                st.rerun()


def _receipts(answers: Sequence[Answer]) -> None:
    accepted = [one for one in answers if isinstance(one, RequestAnswer) and one.nonce]
    if accepted:
        st.success(f"{len(accepted)} accepted and quarantined.", icon=":material/check_circle:")
        st.write(
            "Hand each requester their receipt now. The nonce opens the certificate for them alone and is kept nowhere."
        )
        rows = [_receipt(one) for one in accepted]
        st.dataframe(
            rows, hide_index=True, alt="Receipts: request, nonce and due date, by line where there are several"
        )
        st.download_button("Download the receipts (CSV)", _csv(rows), "receipts.csv", "text/csv")
        st.caption("They are shown until you put them away, reload or close this page. The nonces are lost then.")
    for one in answers:
        if isinstance(one, RefusedAnswer):  # its reason itself names the line
            st.warning(plain(sentence(one.reason)))
        elif isinstance(one, RequestAnswer) and not one.nonce:
            st.warning(plain(sentence(_refusal(one))))


def _receipt(one: RequestAnswer) -> Mapping[str, Any]:
    """A receipt; by its line whoever has the list knows whose it is."""
    line = {"Line": one.line} if one.line else {}
    return {**line, "Request": one.request, "Nonce": one.nonce, "Due": moment(one.due)}


def _refusal(one: RequestAnswer) -> str:
    told = str(one.reason or STATUSES.get(one.status, (one.status,))[0])
    return f"line {one.line}, {one.request}: {told}" if one.line else f"{one.request}: {told}"


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _plan(planned: ErasureResult) -> None:
    st.subheader("What would be done")
    if planned.people:
        people = "one person, who is" if planned.people == 1 else f"{planned.people:,} people, who are"
        st.caption(f"It concerns {people} not named here any more. No one is quarantined before you confirm.")
    for one in planned.requests:
        if isinstance(one, RefusedAnswer):
            st.warning(plain(sentence(one.reason)))
    for plan in planned.plan or ():
        st.markdown(f"**Data set {plain(plan.dataset)}**")
        row = st.container(horizontal=True)
        row.metric("Models touched", sum(bool(e.retrain) for e in plan.ensembles), border=True)
        row.metric("Seconds of training", _seconds(plan.predicted_seconds), border=True)
        row.metric(
            "Things purged",
            len(plan.purge),
            border=True,
            help="Old versions, evaluations and tables derived from them.",
        )
        row.metric("To notify", len(plan.notify), border=True, help="Releases and exports handed out (GDPR Art. 19).")
        for ensemble in plan.ensembles:
            st.caption(plain(ensemble.ensemble))
            shards = ensemble.reused + len(ensemble.retrain)
            erasure_map(ensemble.ensemble, shards, waiting=[r.shard for r in ensemble.retrain])
        _kept(plan)


def _seconds(predicted: float) -> str:
    return "under 0.1" if 0 < predicted < 0.1 else f"{predicted:.1f}"


def _kept(plan: PlannedErasure) -> None:
    told = [("Purged", one.kind, one.id) for one in plan.purge]
    told += [("Kept, private", f"ε = {one.epsilon:g}", one.id) for one in plan.keep_private]
    told += [("Measured again", f"ε = {one.epsilon:g}", one.id) for one in plan.remeasure]
    told += [("Fitted again", "not private", one.id) for one in plan.refit]
    told += [("To notify", one.recipient or "whoever got it", one.id) for one in plan.notify]
    with st.expander(f"All {len(told)} things that are purged, kept or to be notified"):
        rows = [{"What happens": happens, "What it is": what, "Which": which} for happens, what, which in told]
        st.dataframe(rows, hide_index=True, alt="What is purged, kept and to be notified")


def _verify() -> None:
    st.write("Checks a certificate's signature, and against this workspace whether what it says still holds.")
    with st.form("verify"):
        file = st.file_uploader("A certificate", type=["json"], max_upload_size=10)
        replay = st.checkbox(
            "Train the affected shards again and compare", help="The strongest check. It reads the records."
        )
        asked = st.form_submit_button("Verify", type="primary")
    if not asked:
        return
    if file is None:
        raise InputError("no certificate was chosen", hint="choose the .json file that the requester was given")
    result, content = verify_upload(session.workspace(), file.getvalue(), replay=replay)
    if result.valid:
        newer = result.superseded_by
        st.success("Valid." + (f" A later version, {newer}, took the place of its model." if newer else ""))
    else:
        wrong = [f"{c.name}: {c.detail}" for c in result.checks if not c.ok]
        st.error(f"Not valid. {plain(sentence('; '.join(wrong)))}", icon=":material/error:")
    rows = [{"Check": c.name, "Holds": "yes" if c.ok else "NO", "Detail": c.detail} for c in result.checks]
    st.dataframe(rows, hide_index=True, alt="Checks of the certificate")
    if content:
        st.iframe(content, height=600, alt="The certificate as a page")


session.shown(page)
