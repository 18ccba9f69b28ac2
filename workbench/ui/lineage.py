"""Lineage: what was made from what, step by step, from a data set to whoever got something."""

from __future__ import annotations

from typing import Any

import streamlit as st

from workbench.ui import places, session
from workbench.ui.words import label, moment, plain
from workbench.workflows.lineage import show_lineage
from workbench.workflows.overview import overview

_MOST = 30
_FACTS = ("shard", "version", "private", "epsilon", "delta", "rows", "recipient", "stale")


def page() -> None:
    """The whole page."""
    st.title("Lineage")
    sets = [one["dataset"] for one in overview(session.workspace())["datasets"]]
    if not sets:
        st.info("There is no data set yet, and nothing made of one.")
        places.link("data", "Take in a data set")
        return
    asked = st.query_params.get("id")
    if asked is None or len(sets) > 1:
        chosen = st.selectbox("Data set", sets)
        asked = asked or chosen
    told = show_lineage(session.workspace(), asked)
    if asked != told["dataset"]:
        places.link("lineage", f"All of {told['dataset']}", id=told["dataset"])
    _about(told)
    _picture(told)
    left, right = st.columns(2)
    with left:
        _list("Made from", told["derived_from"], "Nothing: it came from outside.")
    with right:
        _list("Made of it", told["derivatives"], "Nothing.")


def _about(told: dict[str, Any]) -> None:
    with st.container(border=True):
        st.markdown(f"**{plain(told['id'])}** · {plain(label(told['kind']))} · {moment(told['created'])}")
        facts = [f"{label(name)}: {plain(told[name])}" for name in _FACTS if told.get(name) is not None]
        st.caption(" · ".join(facts) or "An erasure follows these lines to find all that a person left traces in.")
        if told.get("digest"):
            st.code(told["digest"], language=None)
        if told.get("mlflow_run"):
            st.caption("In MLflow, which `mlflow ui` shows, it is this run:")
            st.code(told["mlflow_run"], language=None)


def _picture(told: dict[str, Any]) -> None:
    before, after = told["derived_from"][:_MOST], told["derivatives"][:_MOST]
    nodes = [f"{_quoted(one['id'])} [label={_quoted(one['kind'])}]" for one in (*before, *after)]
    lines = [f"{_quoted(one['id'])} -> {_quoted(told['id'])}" for one in before]
    lines += [f"{_quoted(told['id'])} -> {_quoted(one['id'])}" for one in after]
    if not lines:
        return
    own = f"{_quoted(told['id'])} [label={_quoted(told['kind'])}, penwidth=3]"
    style = 'rankdir=LR; bgcolor=transparent; node [shape=box, style="rounded,filled", fillcolor="#e8f5ee", fontname="Arial"]'
    with st.expander("As a picture"):
        st.graphviz_chart(
            f"digraph {{ {style}; {'; '.join([own, *nodes, *lines])} }}",
            width="stretch",
            alt=f"{len(before)} things it was made from, {len(after)} made of it",
        )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "").replace('"', "'") + '"'


def _list(title: str, artifacts: list[dict[str, Any]], otherwise: str) -> None:
    st.subheader(title)
    if not artifacts:
        st.caption(otherwise)
        return
    rows = [{"Kind": label(one["kind"]), "Which": one["id"], "Since": moment(one["created"])} for one in artifacts]
    st.caption("Choose a row to go there.")
    chosen = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"list-{title}-{len(rows)}-{rows[0]['Which']}",
        alt=title,
    )
    if places_chosen := chosen["selection"]["rows"]:
        st.query_params["id"] = rows[places_chosen[0]]["Which"]
        st.rerun()


session.shown(page)
