"""Lineage: what was made from what, step by step, from a data set to whoever got something."""

from __future__ import annotations

from collections import Counter
from typing import Any

import streamlit as st

from workbench.ui import places, session
from workbench.ui.words import label, moment, plain
from workbench.workflows.lineage import show_lineage
from workbench.workflows.overview import overview

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
            st.caption("In MLflow, which the command mlflow ui shows, it is this run:")
            st.code(told["mlflow_run"], language=None)


def _picture(told: dict[str, Any]) -> None:
    """What it was made from and what of it, by kind, in the order of their making."""
    before, after = (Counter(one["kind"] for one in told[side]) for side in ("derived_from", "derivatives"))
    if not before and not after:
        return
    own = f'"own" [label={_quoted(told["id"])}, penwidth=2]'
    nodes = [f'"from-{k}" [label={_quoted(_many(k, n))}]; "from-{k}" -> "own"' for k, n in before.items()]
    nodes += [f'"of-{k}" [label={_quoted(_many(k, n))}]; "own" -> "of-{k}"' for k, n in after.items()]
    look = 'shape=box, style="rounded,filled", fillcolor="#e8f5ee", color="#146c43", fontname="Arial", fontsize=11'
    alt = f"Made from {sum(before.values())} things; {sum(after.values())} were made of it"
    edges = 'edge [color="#7a828e", arrowsize=0.7]'
    st.graphviz_chart(
        f"digraph {{ rankdir=LR; bgcolor=transparent; node [{look}]; {edges}; {'; '.join([own, *nodes])} }}", alt=alt
    )


def _many(kind: str, number: int) -> str:
    return label(kind) if number == 1 else f"{label(kind)} × {number}"


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
