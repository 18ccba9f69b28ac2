"""The click-through parts of the lineage page: an erasure, the shards of an ensemble, one shard, one file of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from workbench.ui.parts import places, session
from workbench.ui.parts.words import STATUSES, moment, plain
from workbench.workflows.operations.results import TracedShard
from workbench.workflows.operations.trace import buckets_of, trace_bucket, trace_ensemble, trace_request, trace_shard


def go(**about: str) -> None:
    """Shows another thing on this page."""
    st.query_params.from_dict(about)
    st.rerun()


def choice(title: str, rows: Sequence[Mapping[str, Any]], *, key: str) -> int | None:
    """A table of which a row may be chosen; returns its place."""
    st.caption("Choose a row to go there.")
    chosen = st.dataframe(
        rows, hide_index=True, on_select="rerun", selection_mode="single-row", key=f"{key}-{title}", alt=title
    )
    return next(iter(chosen["selection"]["rows"]), None)


def _times(generation: int) -> str:
    return "once" if generation == 1 else f"{generation} times"


def _short(digest: str | None) -> str:
    return f"{digest[:16]}…" if digest else ""


def show_request(request: str) -> None:
    """An erasure: which shards it touched, and which versions came of it."""
    told = trace_request(session.workspace(), request)
    with st.container(border=True):
        st.markdown(f"**{plain(request)}** · Erasure request · {STATUSES.get(told.status, (told.status,))[0]}")
        st.caption(f"In {', '.join(map(plain, told.datasets))}. It names nobody.")
    places.link("erasure", "Its timeline" + (" and certificate" if told.certificate else ""), request=request)
    st.subheader("Shards that were trained again, and the versions that came of it")
    if not told.versions:
        st.caption("None: it is not carried out, or no model saw the person.")
        return
    rows = [
        {"Model": one.ensemble, "Shard": shard, "Version": one.version, "Published": moment(one.at)}
        for one in told.versions
        for shard in one.shards
    ]
    now = [one.now for one in told.versions for _ in one.shards]
    for one in told.versions:
        if not one.shards:
            st.caption(f"{plain(one.ensemble)}, version {one.version}: no shard had to be trained again.")
    if not rows:
        return
    place = choice("Shards of this erasure", rows, key=request)
    if place is not None:
        if now[place] is None:
            st.info("That model was withdrawn since.")
        else:
            go(id=str(now[place]), shard=str(rows[place]["Shard"]))


def show_shards(version: str) -> None:
    """The shards of an ensemble's version, to go on to one."""
    told = trace_ensemble(session.workspace(), version)
    st.subheader("Its shards", help="Each saw other people. Its constituent is the model that it gave.")
    rows = [
        {
            "Shard": one.shard,
            "Trained": _times(one.generation),
            "Constituent (SHA-256)": _short(one.digest) or "empty: it abstains",
        }
        for one in told.shards
    ]
    place = choice("Shards", rows, key=version)
    if place is not None:
        go(id=version, shard=str(rows[place]["Shard"]))


def _number(asked: str) -> int:
    """A number of the address, or -1, which nothing has; Python refuses to read one of thousands of digits."""
    return int(asked) if asked.isdecimal() and len(asked) < 20 else -1


def show_shard(version: str, shard: str) -> None:
    """One shard, between the records that feed it and the constituent that it gave."""
    told = trace_shard(session.workspace(), version, _number(shard))
    low, high = told.stretch
    with st.container(border=True):
        st.markdown(f"**Shard {told.shard}** of {plain(told.ensemble)} · trained {_times(told.generation)}")
        st.caption(f"It learns from the people whose keyed hash lies between {low:.2%} and {high:.2%}.")
    with st.container(horizontal=True):
        places.link("lineage", "Its model's version", id=version)
        places.link("lineage", "Its constituent", id=told.constituent)
    records, points = st.columns(2)
    with records:
        _records(told)
    with points:
        _checkpoints(told)
    _trained(told)


def _records(told: TracedShard) -> None:
    st.subheader("Records that feed it", help="Files of the store, by stretch of the hash line. None names anybody.")
    rows = [
        {
            "Bucket": one.bucket,
            "Stretch": "{:.2%} to {:.2%}".format(*one.stretch),
            "SHA-256": _short(one.digest),
        }
        for one in told.buckets
    ]
    if not rows:
        st.caption("None: nobody of its stretch is left.")
        return
    place = choice("Buckets", rows, key=f"{told.id}-{told.shard}")
    if place is not None:
        go(id=told.dataset, bucket=str(rows[place]["Bucket"]))


def _checkpoints(told: TracedShard) -> None:
    st.subheader(
        "Its checkpoints", help="The model after each slice. An erasure goes on from the last one before the person."
    )
    rows = [
        {
            "After slice": one.slice + 1,
            "SHA-256": _short(one.digest) or "no record yet",
            "Stored": "yes" if one.stored else "no",
        }
        for one in told.checkpoints
    ]
    st.dataframe(rows, hide_index=True, alt="Checkpoints with their digests")


def _trained(told: TracedShard) -> None:
    st.subheader("Trained for")
    for one in told.trained:
        if not one.requests:
            st.markdown(f"Version {one.version}: the first training")
        for request in one.requests:
            places.link("lineage", f"Version {one.version}, for request {request}", id=request)


def show_bucket(dataset: str, bucket: str) -> None:
    """One file of records, and the shards that learn from it."""
    told = trace_bucket(session.workspace(), dataset, _number(bucket))
    low, high = told.stretch
    with st.container(border=True):
        st.markdown(f"**Bucket {told.bucket}** of {plain(dataset)} · {low:.2%} to {high:.2%} of the hash line")
        for split, digest in told.digests.items():
            st.caption(f"{split}: {digest or 'nobody'}")
    places.link("lineage", f"All of {dataset}", id=dataset)
    st.subheader("Shards that learn from it")
    rows = [
        {"Model": one.ensemble, "Shard": one.shard, "Stretch": "{:.2%} to {:.2%}".format(*one.stretch)}
        for one in told.shards
    ]
    if not rows:
        st.caption("None: no model was trained on this data set.")
        return
    place = choice("Shards of this bucket", rows, key=f"{dataset}-{bucket}")
    if place is not None:
        go(id=told.shards[place].id, shard=str(told.shards[place].shard))


def choose_bucket(dataset: str) -> None:
    """A way from a data set to one of its files of records."""
    buckets = buckets_of(session.workspace(), dataset)
    if not buckets:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        bucket = st.selectbox("A file of its records, by number", buckets, help="Files are stretches of the hash line.")
        if st.button("Follow these records"):
            go(id=dataset, bucket=str(bucket))
