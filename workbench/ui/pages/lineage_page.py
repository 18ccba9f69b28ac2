"""Lineage: what was made from what, step by step, from a data set to whoever got something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from workbench.ui.parts import places, session
from workbench.ui.parts.mlflow_link import show_in_mlflow
from workbench.ui.parts.trace import choice, choose_bucket, go, show_bucket, show_request, show_shard, show_shards
from workbench.ui.parts.words import label, moment, plain
from workbench.workflows.erasure.decide import list_requests
from workbench.workflows.operations.overview import overview
from workbench.workflows.operations.results import ArtifactSummary, LineageResult
from workbench.workflows.operations.show_lineage import show_lineage

_PAGES = (("ensemble", "models", "Its quality and versions"), ("release", "synthesize", "Look at it"))
_FACTS = ("shard", "version", "private", "epsilon", "delta", "rows", "recipient", "stale")


def page() -> None:
    """The whole page: where to begin, or one thing with what it was made from and what was made of it."""
    st.title("Lineage")
    seen = overview(session.workspace())
    sets = [one.dataset for one in seen.datasets]
    if not sets:
        st.info("There is no data set yet, and nothing made of one.")
        places.link("data", "Take in a data set")
        return
    requests = [one.request for one in reversed(list_requests(session.workspace()).requests)]
    asked = st.query_params.get("id")
    if asked is None:
        asked = _begin(sets, [one.artifact for one in seen.models], requests)
    else:
        places.link("lineage", "Begin elsewhere")
    shard, bucket = st.query_params.get("shard"), st.query_params.get("bucket")
    if asked in requests:
        show_request(asked)
    elif shard is not None:
        show_shard(asked, shard)
    elif bucket is not None:
        show_bucket(asked, bucket)
    else:
        _artifact(asked)


def _begin(sets: list[str], models: list[str], requests: list[str]) -> str:
    told = {name: f"{name} (data set)" for name in sets} | {name: f"{name} (model)" for name in models}
    told |= {name: f"{name} (erasure)" for name in requests}
    return str(st.selectbox("Begin with", list(told), format_func=lambda name: told[name]))


def _artifact(asked: str) -> None:
    told = show_lineage(session.workspace(), asked)
    if asked != told.dataset:
        places.link("lineage", f"All of {told.dataset}", id=told.dataset)
    _about(told)
    _picture(told)
    if told.kind == "ensemble":
        with session.reported():
            show_shards(asked)
    if told.kind == "dataset":
        choose_bucket(asked)
    left, right = st.columns(2)
    with left:
        _list("Made from", told.derived_from, "Nothing: it came from outside.")
    with right:
        _list("Made of it", told.derivatives, "Nothing.")


def _about(told: LineageResult) -> None:
    with st.container(border=True):
        st.markdown(f"**{plain(told.id)}** · {plain(label(told.kind))} · {moment(told.created)}")
        known = {name: getattr(told, name) for name in _FACTS}
        facts = [f"{label(name)}: {plain(value)}" for name, value in known.items() if value is not None]
        st.caption(" · ".join(facts) or "An erasure follows these lines to find all that a person left traces in.")
        if told.digest:
            st.code(told.digest, language=None)
        with session.reported():
            show_in_mlflow(told.id)
    for kind, page_, text in _PAGES:
        if told.kind == kind:
            places.link(page_, text, of=told.id)
    versions = [one.id for one in told.derivatives if one.kind == "ensemble"]
    if told.kind == "constituent" and versions:
        places.link("lineage", "Its shard, with records and checkpoints", id=versions[-1], shard=str(told.shard))
    if told.kind == "evaluation" and told.of:
        places.link("reports", "Its report", of=told.of)


def _picture(told: LineageResult) -> None:
    """What it was made from and what of it, by kind, in the order of their making."""
    before, after = (Counter(one.kind for one in side) for side in (told.derived_from, told.derivatives))
    if not before and not after:
        return
    own = f'"own" [label={_quoted(told.id)}, penwidth=2]'
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


def _list(title: str, artifacts: Sequence[ArtifactSummary], otherwise: str) -> None:
    st.subheader(title)
    if not artifacts:
        st.caption(otherwise)
        return
    rows = [{"Kind": label(one.kind), "Which": one.id, "Since": moment(one.created)} for one in artifacts]
    place = choice(title, rows, key=f"list-{len(rows)}-{rows[0]['Which']}")
    if place is not None:
        go(id=rows[place]["Which"])


session.shown(page)
