"""Audit log: what was done and by whom, in a chain that shows where anybody changed it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import streamlit as st

from workbench.ui.parts import session
from workbench.ui.parts.words import STEPS, label, moment, number
from workbench.workflows.operations.audit_log import MOST, read_history
from workbench.workflows.operations.results import JournalEntry

_ALL = "Everything"


def page() -> None:
    """The whole page."""
    st.title("Audit log")
    told = read_history(session.workspace())
    if told.broken_at is None:
        st.success(
            f"The chain of {number(told.length)} entries holds: nothing was changed, left out or put in between.",
            icon=":material/verified:",
        )
    else:
        st.error(
            f"The chain breaks at entry {told.broken_at}: it was changed. Compare with a backup.",
            icon=":material/error:",
        )
    if not told.kinds:
        st.info("Nothing was done yet.")
        return
    left, right = st.columns([1, 2])
    kind = left.selectbox(
        "What was done", [_ALL, *told.kinds], format_func=lambda name: name if name == _ALL else _named(name)
    )
    sought = right.text_input("Only entries with", placeholder="a request, a data set, a name of whoever did it")
    if kind != _ALL:
        told = read_history(session.workspace(), kind=kind)
    found = [one for one in told.entries if sought.casefold() in json.dumps(one.to_json()).casefold()]
    _entries(found, told.head)


def _named(kind: str) -> str:
    return f"{label(kind.lower())}"


def _what(entry: JournalEntry) -> str:
    if entry.kind == "RELEASED" and "release" in entry.body:  # an earlier release wrote this of requests, too
        return "Synthetic table released"
    return STEPS.get(entry.kind, _named(entry.kind))


def _entries(entries: Sequence[JournalEntry], head: str) -> None:
    rows = [
        {
            "No.": entry.sequence,
            "When": moment(entry.at),
            "Who": entry.actor,
            "What": _what(entry),
            "About": ", ".join(f"{key} {_short(value)}" for key, value in entry.body.items()),
        }
        for entry in entries
    ]
    st.dataframe(rows, hide_index=True, alt="Entries of the audit log, newest first")
    st.caption(
        f"{len(rows)} entries; at most {MOST} are read. An entry names a person only by the id of their request."
    )
    content = json.dumps(
        {"head": head, "entries": [entry.to_json() for entry in entries]}, ensure_ascii=False, indent=1
    )
    st.download_button("Export these entries (JSON)", content, "audit-log.json", "application/json")


def _short(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(one, str | int) for one in value):
        value = ", ".join(map(str, value))
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 48 else f"{text[:45]}…"


session.shown(page)
