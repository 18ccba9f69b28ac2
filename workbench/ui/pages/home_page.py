"""Home: how the workspace is, what needs attention, and what there is."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from workbench.ui.parts import jobs, places, session
from workbench.ui.parts.words import headline, label, moment, number, plain
from workbench.workflows.operations.doctor import glance
from workbench.workflows.operations.jobs import detach_job
from workbench.workflows.operations.overview import overview
from workbench.workflows.operations.results import (
    AttentionPoint,
    DatasetSummary,
    Health,
    ModelSummary,
    Overview,
    ReleaseSummary,
)


def page() -> None:
    """The whole page."""
    st.title("Home")
    space = session.workspace()
    jobs.watch("demo", "ingest", "synthesize", "train", "advise", "erase", "evaluate")
    seen = overview(space)
    if not seen.datasets:
        _welcome()
        return
    _health(glance(space), seen)
    _attention(seen.attention)
    _datasets(seen.datasets)
    left, right = st.columns(2)
    with left:
        _models(seen.models)
    with right:
        _releases(seen.releases)


def _welcome() -> None:
    st.write(
        "A workbench for people who hold a table about persons: synthetic copies with a privacy guarantee, models from which "
        "any person can be removed exactly, and signed certificates of it."
    )
    one, two = st.columns(2)
    with one.container(border=True, height="stretch"):
        st.subheader("Look around first")
        st.write(
            "The demo takes in a public census table, makes a synthetic copy and a model, erases one person and checks the "
            "certificate. It takes about a minute."
        )
        if st.button("Run the demo", type="primary", disabled=not session.may("operate")):
            detach_job(session.workspace(), "demo", {})
            session.again("The demo has begun.")
    with two.container(border=True, height="stretch"):
        st.subheader("Start with your own table")
        st.write("Upload a CSV or Parquet file. The app proposes what its columns mean, and you confirm it.")
        places.link("data", "Go to Data")
    jobs.show_fault("demo")


def _health(health: Health, seen: Overview) -> None:
    row = st.container(horizontal=True)
    row.metric(
        "Workspace",
        "Sound" if health.healthy else "Damaged",
        border=True,
        help="Database, audit log and keys. `workbench doctor` also checks every record and model.",
    )
    row.metric("Open requests", seen.open_requests, border=True, help="People who wait to be erased.")
    row.metric("Synthetic tables", len(seen.releases), border=True)
    row.metric("Models", len(seen.models), border=True)
    for check in (c for c in health.checks if not c.ok):
        st.error(f"{plain(label(check.name))}: {plain(check.detail)}.")


def _attention(points: Sequence[AttentionPoint]) -> None:
    st.subheader("Needs attention")
    if not points:
        st.success("Nothing needs attention.", icon=":material/check_circle:")
    for point in points:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            if point.level == "error":
                st.badge("Now", color="red")
            else:
                st.badge("Soon" if point.level == "warning" else "Note", color="orange")
            st.markdown(plain(point.text))
            about = {"request": str(point.about)} if point.page == "erasure" else {}
            places.link(point.page, places.TITLES[point.page], **about)


def _datasets(sets: Sequence[DatasetSummary]) -> None:
    st.subheader("Data sets")
    rows = [
        {
            "Data set": one.dataset,
            "Whose people": one.population,
            "Columns": one.columns,
            "Target": one.target or "–",
            "To review": len(one.unreviewed),
            "Taken in": moment(one.created),
        }
        for one in sets
    ]
    st.dataframe(rows, hide_index=True, alt="Data sets with their population, columns and target")


def _models(models: Sequence[ModelSummary]) -> None:
    st.subheader("Models")
    if not models:
        st.info("No model yet.")
        places.link("models", "Train one")
        return
    rows = [
        {
            "Model": one.ensemble,
            "Version": one.version,
            "Quality": headline(one.metrics),
        }
        for one in models
    ]
    st.dataframe(rows, hide_index=True, alt="Models with their current version and quality")


def _releases(releases: Sequence[ReleaseSummary]) -> None:
    st.subheader("Synthetic tables")
    if not releases:
        st.info("No synthetic table yet.")
        places.link("synthesize", "Make one")
        return
    rows = [
        {
            "Release": one.release,
            "Guarantee": f"ε = {one.epsilon:g}" if one.private else "none",
            "Rows": number(one.rows),
        }
        for one in releases
    ]
    st.dataframe(rows, hide_index=True, alt="Synthetic tables with their guarantee and size")


session.shown(page)
