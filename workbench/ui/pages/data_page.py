"""Data: take in a bundled table or one of your own, once its public schema is confirmed; look at what is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, get_args

import streamlit as st

from workbench.errors import InputError
from workbench.progress import Progress
from workbench.schema import Schema
from workbench.schema.column import Role
from workbench.schema.draft import rows_of, with_rows
from workbench.schema.kinds.registry import KINDS
from workbench.ui.parts import jobs, session
from workbench.ui.parts.words import counted, day, number, plain
from workbench.workflows.datasets.profile import profile, schema_of
from workbench.workflows.operations.browser_files import (
    check_table,
    column_names,
    draft_schema,
    ingest_upload,
    name_of,
    rehearse_upload,
)
from workbench.workflows.operations.jobs import detach_job
from workbench.workflows.operations.overview import overview
from workbench.workflows.operations.results import DatasetSummary

_BUNDLED: Mapping[str, str] = {
    "adult": "US census 1994: 48,842 people, income over $50,000",
    "oulad": "Open University: students and whether they passed",
    "german": "German Credit: 1,000 borrowers",
}
_NOBODY = "Each row is a person of its own"
_DRAFT, _COLUMNS, _ROUND = "draft", "upload-columns", "upload-round"


def page() -> None:
    """The whole page."""
    st.title("Data")
    jobs.watch("ingest")
    jobs.show_fault("ingest")
    sets = overview(session.workspace()).datasets
    titles = ["Data sets", "Your own table", "From the box"]
    have, own, bundled = st.tabs(titles, default=titles[0] if sets else titles[1])
    with have, session.reported():
        _sets(sets)
    with own, session.reported():
        _own()
    with bundled, session.reported():
        _bundled({one.dataset for one in sets})


def _sets(sets: Sequence[DatasetSummary]) -> None:
    if not sets:
        st.info("No data set yet. Upload a table of your own, or take one from the box.")
        return
    by_name = {one.dataset: one for one in sets}
    one = by_name[st.selectbox("Data set", list(by_name))]
    row = st.container(horizontal=True)
    row.metric("Whose people", one.population, border=True, help="The population: its people share one privacy budget.")
    row.metric("Identified by", one.identity_type, border=True, help="What an erasure request names a person by.")
    row.metric("Columns", one.columns, border=True)
    row.metric("Taken in", day(one.created), border=True)
    if one.unreviewed:
        names = ", ".join(map(plain, one.unreviewed))
        st.warning(
            f"Domains that were guessed from data and that nobody confirmed: {names}. Every certificate says so."
        )
    st.subheader("Its public schema", help="What everybody may know of the table: which values a column can hold.")
    st.dataframe(
        _told(rows_of(schema_of(session.workspace(), one.dataset))), hide_index=True, alt="Columns and domains"
    )
    if session.may("operate"):
        _profile(one.dataset)


def _told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    titles = {"column": "Column", "kind": "Kind", "role": "Role", "missing": "May be missing", "domain": "Domain"}
    return [{title: row[name] for name, title in titles.items()} for row in rows]


def _profile(dataset: str) -> None:
    st.subheader(
        "Profile", help="How the rows are spread over the public cells. Internal: it is computed from people's rows."
    )
    if not st.button("Show the profile", help="Reads the records; nothing is kept."):
        return
    told = profile(session.workspace(), dataset)
    st.caption(f"{number(told.rows)} training rows. Cells of fewer than 20 rows are told together.")
    for place, column in enumerate(told.columns):
        if place % 3 == 0:
            across = st.columns(3)
        with across[place % 3].container(border=True):
            st.markdown(f"**{plain(column.column)}**")
            rows = [{"cell": cell, "share": share} for cell, share in column.cells]
            st.bar_chart(rows, x="cell", y="share", horizontal=True, height=220, sort=False, x_label="", y_label="")


def _bundled(have: set[str]) -> None:
    for name, told in _BUNDLED.items():
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{name}** · {told}")
            if name in have:
                st.badge("Taken in", color="green")
            elif st.button("Take in", key=f"take-{name}", disabled=not session.may("operate")):
                detach_job(session.workspace(), "ingest", {"name": name, "schema": None, "data": None})
                session.again("Begun.")


def _own() -> None:
    if not session.may("operate"):
        st.info("Your role can look at data sets and may not take them in.")
        return
    number_of = st.session_state.setdefault(_ROUND, 0)
    file = st.file_uploader(
        "A table about people: CSV in UTF-8, or Parquet",
        type=["csv", "parquet"],
        key=f"table-{number_of}",
        help="At most 200 MB. For larger or packed files: workbench ingest",
    )
    if file is None:
        _forget()
        st.caption("It is read on this machine. Nothing is stored before you take it in.")
        return
    content = file.getvalue()
    _propose(file.name, content)
    draft = st.session_state.get(_DRAFT)
    if draft is not None and draft[0] == file.file_id:
        _review(draft[1], file.name, content)


def _forget() -> None:
    """Drops what the session knows of an upload: of a table without a header the column names are a person's row."""
    for known in (_DRAFT, _COLUMNS):
        st.session_state.pop(known, None)


def _propose(name: str, content: bytes) -> None:
    columns = _columns(name, content)
    with st.form("propose"):
        st.markdown("**1. What is it about?**")
        subject = st.selectbox(
            "Which column identifies the person?",
            [_NOBODY, *columns],
            index=None,  # a wrong guess here would tear one person into many
            placeholder="Choose a column",
        )
        target = st.selectbox("What is to be predicted, if anything?", ["Nothing", *columns])
        if st.form_submit_button("Propose a schema", type="primary"):
            if subject is None:
                raise InputError(
                    "nobody said which column identifies the person",
                    hint=f"choose one, or “{_NOBODY}” where nobody has two rows",
                )
            chosen = {
                "subject": None if subject == _NOBODY else subject,
                "target": None if target == "Nothing" else target,
            }
            with _reading() as progress:
                schema = draft_schema(session.workspace(), name, content, **chosen, progress=progress)
            st.session_state[_DRAFT] = (_file_id(), schema)


def _columns(name: str, content: bytes) -> list[str]:
    """The columns of the upload, which is opened for them once."""
    known = st.session_state.get(_COLUMNS)
    if known is None or known[0] != _file_id():
        known = st.session_state[_COLUMNS] = (_file_id(), column_names(session.workspace(), name, content))
    return list(known[1])


@contextmanager
def _reading() -> Iterator[Progress]:
    bar = st.progress(0.0, text="Reading the table")

    def tell(done: float, text: str) -> None:
        bar.progress(done, text=f"Reading the table: {text}")

    yield tell
    bar.empty()


def _file_id() -> str:
    return str(st.session_state[f"table-{st.session_state[_ROUND]}"].file_id)


def _review(draft: Schema, name: str, content: bytes) -> None:
    st.markdown("**2. Confirm what is public**")
    st.warning(
        "These domains were guessed by reading the table. They become public knowledge in all that is made of it: make them "
        "what anybody may know, such as ages 0 .. 120, and tick each one that you confirm."
    )
    rows = st.data_editor(
        rows_of(draft),
        hide_index=True,
        disabled=["column"],
        key=f"schema-{_file_id()}",
        alt="The proposed schema, to be edited",
        column_config={
            "column": st.column_config.TextColumn("Column"),
            "kind": st.column_config.SelectboxColumn("Kind", options=list(KINDS.names()), required=True),
            "role": st.column_config.SelectboxColumn("Role", options=list(get_args(Role)), required=True),
            "domain": st.column_config.TextColumn(
                "Domain", help="Numbers: lowest .. highest. Categories: one | other", width="large"
            ),
            "missing": st.column_config.CheckboxColumn("May be missing"),
            "reviewed": st.column_config.CheckboxColumn("Confirmed"),
        },
    )
    if st.checkbox("I have looked at all of them: confirm every domain"):
        rows = [{**row, "reviewed": True} for row in rows]
    with session.reported():
        _take_in(draft, rows, name, content)


def _take_in(draft: Schema, rows: list[dict[str, Any]], name: str, content: bytes) -> None:
    st.markdown("**3. Take it in**")
    left, right, held = st.columns(3)
    dataset = left.text_input("Name of the data set", value=name_of(name), max_chars=56)
    population = right.text_input(
        "Whose people are they?",
        value=draft.population,
        placeholder="People of its own",
        help="Tables of the same people share one budget: name it as that of the other table. Empty: people of its own.",
    )
    kind = right.text_input(
        "What names a person?",
        value=draft.identity_type,
        placeholder="Numbers of its own",
        help="An erasure request reaches all tables of one identity type, such as member-number.",
    )
    most = draft.max_rows_per_subject
    if draft.subject != "row":
        most = int(
            held.number_input(
                "Most rows of one person", min_value=1, value=most, help="What one person can weigh at most."
            )
        )
    reason = None
    if st.checkbox("They are people whom the workspace knows already", help="Then both tables share one budget."):
        reason = st.text_input("How is that known?", help="It is kept. Name no person.")
    given = {"population": population, "identity_type": kind}
    changes = {"max_rows_per_subject": most} | {field: text for field, text in given.items() if text}
    schema = with_rows(draft, rows, **changes)
    unsure = [row["column"] for row in rows if not row["reviewed"] and row["role"] not in ("drop", "subject_id")]
    with st.container(horizontal=True):
        wants_check = st.button("Check the table")
        wants_all = st.button("Take it in", type="primary")
    if wants_check and _fits(name, content, schema):
        told = _rehearsed(dataset, name, content, schema, reason)
        st.success("Every row fits." + told)
    if wants_all:
        told = _rehearsed(dataset, name, content, schema, reason)
        ingest_upload(session.workspace(), dataset, name, content, schema, same_people=reason)
        st.session_state[_ROUND] += 1  # a new field: the upload is given up
        _forget()
        session.again("Being taken in." + told)
    if unsure:
        st.caption(f"Not confirmed yet: {', '.join(map(plain, unsure))}. Every certificate would say so.")


def _fits(name: str, content: bytes, schema: Schema) -> bool:
    """Whether every row keeps the rules of its columns; tells which are broken."""
    with _reading() as progress:
        broken = check_table(session.workspace(), name, content, schema, progress=progress)
    if not broken:
        return True
    st.error("Some rows don't fit what you declared. Widen the domain, or mend the table.")
    rows = [{"Column": one.column, "Rule": one.rule, "Rows, at least": one.rows} for one in broken]
    st.dataframe(rows, hide_index=True, alt="Rules that the table breaks")
    return False


def _rehearsed(dataset: str, name: str, content: bytes, schema: Schema, same_people: str | None) -> str:
    """What would become of rows that are not stored as they are, as sentences; raises as taking the table in would."""
    with _reading() as progress:
        found = rehearse_upload(
            session.workspace(), dataset, name, content, schema, same_people=same_people, progress=progress
        )
    if found is None:
        return " Whether nobody has more rows than declared shows when it is taken in, for the table is large."
    told = ""
    if clipped := found.clipped:
        told += f" Values beyond the bounds of a column are moved to the nearest bound, in {counted(clipped, 'row')}."
    if left := sum(found.left_out.values()):
        told += f" Left out, as the schema says: {counted(left, 'row')}."
    return told


session.shown(page)
