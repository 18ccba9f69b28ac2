"""Reports: how good and how private a table, a model or an erasure is, measured and judged. All of it is internal."""

from __future__ import annotations

import streamlit as st

from workbench.reports.evaluation_page import left_out_text
from workbench.ui.parts import jobs, places, session
from workbench.ui.parts.words import label, moment, plain
from workbench.workflows.erasure.decide import list_requests
from workbench.workflows.evaluation.report import comparison_html, evaluation_html
from workbench.workflows.evaluation.results import EvaluationEntry
from workbench.workflows.evaluation.stored_evaluations import evaluation_of, evaluations
from workbench.workflows.operations.jobs import detach_job
from workbench.workflows.operations.overview import overview


def page() -> None:
    """The whole page."""
    st.title("Reports")
    jobs.watch("evaluate")
    jobs.show_fault("evaluate")
    known = evaluations(session.workspace())
    listed, new, beside = st.tabs(["Reports", "Evaluate", "Compare"])
    with listed, session.reported():
        _reports(known)
    with new, session.reported():
        _evaluate()
    with beside, session.reported():
        _compare(known)


def _reports(known: list[EvaluationEntry]) -> None:
    if not known:
        st.info("Nothing was evaluated yet. Choose something under “Evaluate”.")
        return
    of = {one.id: one for one in known}
    asked = next((one.id for one in known if one.of == st.query_params.get("of")), None)
    name = st.selectbox(
        "Report",
        list(of),
        index=list(of).index(asked) if asked else 0,
        format_func=lambda i: f"{of[i].of} ({moment(of[i].made)})",
    )
    document = evaluation_of(session.workspace(), name, of[name].dataset)
    if absent := left_out_text(document.left_out):
        st.info(absent)
    for verdict in document.verdicts:
        with st.container(border=True):
            holds = verdict.holds
            st.badge("Yes" if holds else "No" if holds is False else "Not known", color="green" if holds else "orange")
            st.markdown(f"**{plain(label(verdict.use))}**")
            st.caption(" · ".join(map(plain, verdict.because)))
    content = evaluation_html(session.workspace(), name, dataset=of[name].dataset)
    workspace, dataset = session.workspace(), of[name].dataset
    taken = session.on_click(lambda: evaluation_html(workspace, name, dataset=dataset))
    st.download_button("Download the report (HTML)", taken, f"{plain(of[name].of)}.html", "text/html")
    st.caption("Internal: it was computed from people's rows, and the next erasure purges it.")
    st.iframe(content, height=900, alt=f"Evaluation of {of[name].of}")


def _things() -> dict[str, str]:
    seen = overview(session.workspace())
    tables = {one.release: f"{one.release} (synthetic table)" for one in seen.releases}
    models = {one.artifact: f"{one.artifact} (model)" for one in seen.models}
    done = [one for one in list_requests(session.workspace()).requests if one.status == "completed"]
    return tables | models | {one.request: f"{one.request} (erasure)" for one in reversed(done)}


def _evaluate() -> None:
    things = _things()
    if not things:
        st.info("There is no synthetic table, model or erasure yet.")
        places.link("synthesize", "Make a synthetic table")
        return
    asked = st.query_params.get("of")
    place = list(things).index(asked) if asked in things else 0
    name = st.selectbox("What is to be evaluated?", list(things), index=place, format_func=lambda thing: things[thing])
    st.write(
        "Measures it on people's rows and attacks it as an outsider would. It takes from seconds to a few minutes."
    )
    rows = st.select_slider(
        "Rows to look at, at most",
        [1000, 5000, 10_000, 20_000, 50_000],
        value=10_000,
        format_func=lambda n: f"{n:,}",
        help="More rows give narrower intervals and take longer.",
    )
    if st.button("Evaluate", type="primary", disabled=not session.may("operate")):
        detach_job(session.workspace(), "evaluate", {"name": name, "rows": rows})
        session.again("Begun.")


def _compare(known: list[EvaluationEntry]) -> None:
    if len(known) < 2:
        st.info("A comparison takes two evaluations or more.")
        return
    of = {one.id: one.of for one in known}
    names = st.multiselect("Evaluations", list(of), format_func=lambda name: label(of[name]))
    if len(names) > 1:
        content = comparison_html(session.workspace(), names)
        workspace = session.workspace()
        taken = session.on_click(lambda: comparison_html(workspace, names))
        st.download_button("Download the comparison (HTML)", taken, "comparison.html", "text/html")
        st.iframe(content, height=900, alt="Evaluations beside each other")


session.shown(page)
