"""Synthesize: make a synthetic table under a privacy guarantee, see how good it is, take it away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from workbench.config import SynthesizeConfig, parse_config
from workbench.generators.registry import GENERATORS
from workbench.reports.epsilon_text import odds
from workbench.ui.parts import jobs, places, session
from workbench.ui.parts.words import day, figure, label, moment, number, plain, strength
from workbench.workflows.datasets.budget import set_budget
from workbench.workflows.operations.browser_files import MOST_ROWS, release_file, release_rows, sample_file
from workbench.workflows.operations.jobs import detach_job
from workbench.workflows.operations.overview import measured, overview, quality
from workbench.workflows.operations.results import MeasuredFigures, ReleaseSummary
from workbench.workflows.synthesis.preflight import preflight

_EPSILONS = (0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)
_FIGURES: Mapping[str, tuple[str, str]] = {
    "fidelity/tvd1": ("Single columns", "Mean distance to the real table, 0 is equal, 1 has nothing in common (TVD)."),
    "fidelity/tvd2": ("Pairs of columns", "The same for every pair of columns."),
    "fidelity/tvd3": ("Triples of columns", "The same for triples of columns."),
    "utility/tstr_auc": (
        "Models trained on it (AUC)",
        "A model that saw the synthetic rows only, tested on real people held out.",
    ),
    "utility/tstr_r2": (
        "Models trained on it (R²)",
        "A model that saw the synthetic rows only, tested on real people held out.",
    ),
}
_FILES: Mapping[str, tuple[str, str]] = {
    "CSV": (".csv", "text/csv"),
    "Parquet": (".parquet", "application/octet-stream"),
}


def page() -> None:
    """The whole page."""
    st.title("Synthesize")
    seen = overview(session.workspace())
    if not seen.datasets:
        st.info("There is no data set yet to make a synthetic copy of.")
        places.link("data", "Take in a data set")
        return
    jobs.watch("synthesize", "measure")
    jobs.show_fault("synthesize", "measure")
    made, new = (
        st.tabs(["Synthetic tables", "New"]) if seen.releases else reversed(st.tabs(["New", "Synthetic tables"]))
    )
    with new, session.reported():
        _new([one.dataset for one in seen.datasets])
    with made, session.reported():
        _releases(seen.releases)


def _new(names: list[str]) -> None:
    left, right = st.columns([3, 2])
    with left:
        dataset = st.selectbox("Data set", names)
        generator = st.selectbox("Generator", GENERATORS.names(), format_func=lambda name: GENERATORS[name].label)
        given = {"generator": generator, "dataset": dataset} | _strength(generator) | _settings(generator)
        config = parse_config(given, SynthesizeConfig, source="this choice")
    with right.container(border=True), session.reported():
        allowed = _preflight(config)
    can = session.may("operate")
    if st.button("Make the synthetic table", type="primary", disabled=not (can and allowed)):
        detach_job(session.workspace(), "synthesize", config.model_dump(mode="json"))
        session.again("Begun.")
    if not can:
        st.caption("Your role may look, and not make tables.")


def _strength(generator: str) -> dict[str, Any]:
    if not GENERATORS[generator].private:
        st.warning(
            "This generator gives no privacy guarantee. Its tables are withdrawn when a person it saw is erased."
        )
        return {}
    epsilon = st.select_slider(
        "How much may be learnt about one person (ε)",
        _EPSILONS,
        value=1.0,
        format_func=lambda value: f"{value:g}",
        help="Differential privacy: a smaller ε protects each person more and makes the table less exact.",
    )
    delta = st.session_state.get("delta", 1e-5)
    st.caption(f"**{strength(epsilon).capitalize()} protection.** For each person: {odds(epsilon, delta)}")
    return {"epsilon": epsilon}


def _settings(generator: str) -> dict[str, Any]:
    given: dict[str, Any] = {}
    with st.expander("More settings"):
        if GENERATORS[generator].private:
            given["delta"] = st.number_input(
                "δ: how likely the guarantee may fail",
                min_value=1e-12,
                max_value=0.01,
                value=1e-5,
                format="%.0e",
                key="delta",
                help="Well under one over the number of people.",
            )
        rows = st.number_input("Rows of the table", min_value=1, value=None, help="Empty: about as many as there are.")
        if rows is not None:
            given["rows"] = int(rows)
        if "shards" in GENERATORS[generator].settings.model_fields:
            given["shards"] = int(
                st.number_input(
                    "Groups of people measured apart (shards)",
                    min_value=1,
                    max_value=64,
                    value=1,
                    help="With more, an erasure can measure one group again. The price is more noise.",
                )
            )
    return given


def _preflight(config: SynthesizeConfig) -> bool:
    """What it would cost; whether it may be begun."""
    st.markdown("**Before anything is read**")
    told = preflight(session.workspace(), config)
    if (forecast := told.forecast) is not None and forecast.seconds is not None:
        rest = forecast.seconds_per_100000_rows
        each = "" if rest is None else f", and {rest:.1f} s for each 100,000 rows"
        st.markdown(f"About **{forecast.seconds:.0f} s**{each}.")
    if forecast is not None and forecast.noise:
        noise = {what: value for what, value in forecast.noise.items() if what != "price of shards"}
        text = ", ".join(f"{value} rows in {what.removesuffix(', about')}" for what, value in noise.items())
        st.markdown(
            f"Noise added to each count: {text}.", help="Standard deviation. Counts well above it are kept well."
        )
    privacy = told.privacy
    if privacy is None:
        st.markdown("It spends no privacy budget, for it guarantees nothing.")
        return True
    budget = privacy.budget
    if budget is None:
        _set_budget(config)
        return False
    before, after = privacy.spent_before, privacy.spent_after
    st.progress(
        min(1.0, after / budget.epsilon),
        text=f"Budget after: ε {after:.2f} of {budget.epsilon:g} (now {before:.2f})",
    )
    if not privacy.allowed:
        st.error("The budget does not allow this. Choose a smaller ε; what was spent never comes back.")
    return privacy.allowed


def _set_budget(config: SynthesizeConfig) -> None:
    st.warning("These people have no privacy budget yet, so nothing private may be read.")
    if not session.may("administer"):
        st.caption("Ask an administrator to set one.")
        return
    with st.form("budget", border=False):
        most = st.number_input("The most that may ever be spent (ε)", min_value=0.1, max_value=100.0, value=4.0)
        if st.form_submit_button("Set the budget"):
            set_budget(session.workspace(), config.dataset, epsilon=most, delta=config.budget[1])
            session.again("Budget set.")


def _releases(releases: Sequence[ReleaseSummary]) -> None:
    if not releases:
        st.info("No synthetic table yet. Make one under “New”.")
        return
    by_name = {one.release: one for one in releases}
    names, asked = list(by_name), st.query_params.get("of")
    place = names.index(asked) if asked in by_name else 0
    one = by_name[st.selectbox("Synthetic table", names, index=place, format_func=lambda name: _named(by_name[name]))]
    row = st.container(horizontal=True)
    told = f"ε = {one.epsilon:g}" if one.private else "None"
    meaning = (
        odds(one.epsilon, one.delta) if one.epsilon and one.delta else "Nothing bounds what it says about a person."
    )
    row.metric("Guarantee", told, border=True, help=meaning)
    row.metric("Rows", number(one.rows), border=True)
    row.metric("Made", day(one.created), border=True)
    _quality(one)
    with session.reported():
        st.subheader("A look at it")
        st.dataframe(release_rows(session.workspace(), one.release), hide_index=True, alt="The first synthetic rows")
    if session.may("operate"):
        _downloads(one)


def _named(one: ReleaseSummary) -> str:
    spec = GENERATORS.get(one.kind)
    kind = spec.label.split(":")[0] if spec else label(one.kind)
    return f"{one.release} ({kind}, {one.dataset})"


def _quality(one: ReleaseSummary) -> None:
    st.subheader(
        "Quality at a glance", help="Measured on real people's rows, so it is internal and no part of the release."
    )
    figures = quality(session.workspace(), one.release)
    known = [name for name in _FIGURES if name in figures]
    if not known:
        st.caption("The figures went with the records of a person who was erased, or of rows that were added.")
        if session.may("operate") and st.button("Measure them again"):
            detach_job(session.workspace(), "measure", {"name": one.release})
            session.again("Begun.")
    else:
        st.caption(_as_of(measured(session.workspace(), one.release)))
        row = st.container(horizontal=True)
        for name in known:
            title, meaning = _FIGURES[name]
            row.metric(title, figure({"value": figures[name]}), border=True, help=meaning)
    places.link("reports", "Evaluate it in full: fidelity, utility and attacks", of=one.release)


def _as_of(when: MeasuredFigures | None) -> str:
    """Say when the figures were measured, on which version of the records, and how many people were left out."""
    said = f"Measured {moment(when.at if when else None)}"
    if when and when.records_version:
        said += f", on version {when.records_version} of the records"
    if waiting := when and when.left_out:
        said += f", without {waiting:,} {'person who waits' if waiting == 1 else 'people who wait'} for erasure"
    return f"{said}."


def _downloads(one: ReleaseSummary) -> None:
    st.subheader("Take it away")
    whole, drawn = st.columns(2)
    with whole.container(border=True, height="stretch"), session.reported():
        st.markdown("**The table as it is**")
        kind = st.segmented_control("Format", list(_FILES), default="CSV", required=True, key="whole-format") or "CSV"
        ending, mime = _FILES[kind]
        if st.button("Prepare the file"):
            workspace = session.workspace()
            taken = session.on_click(lambda: release_file(workspace, one.release, ending))
            st.download_button("Download", taken, f"{one.release}{ending}", mime, type="primary")
        st.caption("In CSV, texts that a spreadsheet would take for a formula get an apostrophe before them.")
    with drawn.container(border=True, height="stretch"), session.reported():
        st.markdown("**New rows, also under a condition**")
        _draw(one)


def _draw(one: ReleaseSummary) -> None:
    with st.form("draw", border=False):
        n = st.number_input("Rows", min_value=1, max_value=MOST_ROWS, value=1000)
        where = st.text_input(
            "Only rows where", placeholder="sex=Female; age=30..39", help="Conditions, set apart by a semicolon."
        )
        recipient = st.text_input(
            "Who gets the file?", help="Kept, so that they can be told of an erasure (GDPR Art. 19)."
        )
        kind = st.segmented_control("Format", list(_FILES), default="CSV", required=True, key="draw-format") or "CSV"
        asked = st.form_submit_button("Draw rows")
    if asked:
        conditions = tuple(part.strip() for part in where.split(";") if part.strip())
        ending, mime = _FILES[kind]
        download = sample_file(
            session.workspace(), one.generator, int(n), ending, where=conditions, recipient=recipient.strip() or None
        )
        st.download_button(
            f"Download {int(n):,} rows",
            session.on_click(download.take),
            f"{plain(one.dataset)}-rows{ending}",
            mime,
            type="primary",
        )


session.shown(page)
