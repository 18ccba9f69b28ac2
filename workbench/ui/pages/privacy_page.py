"""Privacy: each population's budget, whom each spend concerns, what more tables would leave, and how attacks fared."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from workbench.reports.charts.hash_line import MOST, hash_line
from workbench.reports.charts.hash_line import told as told_in_words
from workbench.reports.epsilon_text import odds
from workbench.ui.parts import places, session
from workbench.ui.parts.attacks import show_attacks
from workbench.ui.parts.what_if import what_if
from workbench.ui.parts.words import moment, plain
from workbench.workflows.datasets.budget import set_budget, show_ledger
from workbench.workflows.datasets.results import ChargeResult, LedgerResult
from workbench.workflows.erasure.suppressions import vouch
from workbench.workflows.operations.overview import overview

_EVERYBODY = ((0.0, 1.0),)


def page() -> None:
    """The whole page."""
    st.title("Privacy budget")
    seen = overview(session.workspace())
    if not seen.datasets:
        st.info("There is no data set yet, so there is nobody whose privacy could be spent.")
        places.link("data", "Take in a data set")
        return
    of = {one.population: one.dataset for one in seen.datasets}
    population = st.selectbox("Whose people?", list(of), help="All tables about the same people share one budget.")
    told = show_ledger(session.workspace(), of[population])
    with session.reported():
        _spent(told)
    with session.reported():
        _stated(told, population)
    if session.may("administer"):
        with session.reported():
            _budget(of[population], told)
    with session.reported():
        _line(told)
    with session.reported():
        _entries(told.entries)
    with session.reported():
        what_if([one.dataset for one in seen.datasets if one.population == population], told.budget)
    with session.reported():
        show_attacks(population, can_evaluate=bool(seen.releases or seen.models))


def _stated(told: LedgerResult, population: str) -> None:
    """What may be missing since a restore, and what was stated about it."""
    for warning in told.warnings:
        st.warning(plain(warning))
    stated = [one.sentence for one in told.statements if one.kind != "raised"]
    for sentence in [*(one.sentence for one in told.raises), *stated]:
        st.caption(plain(sentence))
    if told.held is None:
        return
    st.error(
        "The workspace was restored from a backup, and what was charged since may be missing here. So everything counts as "
        "spent, until a list from the workspace that was in use is taken in by `workbench suppressions import`."
    )
    if session.may("administer"):
        with st.expander("Nothing was charged since"), st.form("vouch"):
            reason = st.text_input("How is that known?", help="It is shown here and on cards. Name no person.")
            if st.form_submit_button("State it"):
                vouch(session.workspace(), population, reason)
                session.again("The budget is free again.")


def _spent(told: LedgerResult) -> None:
    budget, spent = told.budget, told.spent.epsilon
    if budget is None:
        st.warning("No budget is set, so nothing private may be read of these people.")
        return
    row = st.container(horizontal=True)
    row.metric(
        "Spent (ε)", f"{spent:.2f}", border=True, help=f"All that was made together: {odds(spent, budget.delta)}"
    )
    left = 0.0 if told.held else max(0.0, budget.epsilon - spent)
    row.metric("Left (ε)", f"{left:.2f}", border=True)
    row.metric(
        "Budget (ε)",
        f"{budget.epsilon:g}",
        border=True,
        help=f"At δ = {budget.delta:g}. What is spent never comes back.",
    )
    if told.over_by:
        st.error(
            f"More is spent than the budget: ε {told.over_by:.2g} too much. Nothing is undone; further charges are refused."
        )
    st.progress(min(1.0, spent / budget.epsilon), text=f"{spent / budget.epsilon:.0%} of the budget is spent")
    if (exact := told.spent.epsilon_pld) is not None:
        st.caption(f"Counted more exactly, by privacy-loss distributions: ε = {exact:.3f}.")


def _line(told: LedgerResult) -> None:
    if told.budget is None or not told.along:
        return
    st.subheader(
        "Over the hash line",
        help="A keyed hash puts each person at a place from 0 to 1. A spend concerns the people of one stretch, or everybody.",
    )
    epsilon, lines = told.budget.epsilon, told.along_by_type
    for kind, along in lines.items() if len(lines) > 1 else [("", told.along)]:
        on_it = [
            one.to_json() | {"number": number}
            for number, one in enumerate(told.entries, 1)
            if not kind or one.identity_type in (kind, None) or one.scope == _EVERYBODY
        ]
        picture, words = st.columns([1, 1])
        picture.image(hash_line(on_it, along, epsilon), width=480, alt=told_in_words(on_it, along, epsilon))
        if kind:
            words.markdown(f"**People identified by {plain(kind)}**")
        words.markdown(
            "Each bar is a spend, over the people whom it concerns. The area above is what all of them come to at each place. "
            "A person has one place on the line, so what is **spent** is the highest of the area. It may never pass the budget."
        )
        if kind:
            words.markdown("A person may be on the other lines too: the area includes the most expensive places there.")
        if len(on_it) > MOST:
            words.caption(f"The newest {MOST} of {len(on_it)} spends are drawn.")


def _entries(entries: Sequence[ChargeResult]) -> None:
    st.subheader("What each spend bought")
    if not entries:
        st.info("Nothing was spent yet.")
        places.link("synthesize", "Make a synthetic table")
        return
    rows = [
        {
            "No.": number,
            "When": moment(one.created),
            "What for": one.purpose,
            "Whom it concerns": _scope(one.scope),
            "Identified by": one.identity_type or "–",
            "Alone (ε)": "–" if one.epsilon is None else f"{one.epsilon:.3g}",
            "Mechanism": ", ".join(
                f"{k} {v:.4g}" if isinstance(v, float) else str(v) for k, v in one.event.items() if k != "events"
            ),
            "By": one.actor,
        }
        for number, one in reversed(list(enumerate(entries, 1)))
    ]
    st.dataframe(rows, hide_index=True, alt="Charges with purpose, scope and mechanism")
    parts = [one for one in entries if one.scope != _EVERYBODY]
    if parts:
        st.caption(
            "A charge for a part concerns only the people whose keyed hash is there. A person is in one part of each identity "
            "type's line, so the spend is that of the person who paid most."
        )


def _scope(scope: Sequence[tuple[float, float]]) -> str:
    if scope == _EVERYBODY:
        return "everybody"
    return "part " + ", ".join(f"{low:.1%} to {high:.1%}" for low, high in scope)


def _budget(dataset: str, told: LedgerResult) -> None:
    budget, charged = told.budget, bool(told.entries)
    with st.expander("Change the budget" if budget else "Set the budget", expanded=budget is None), st.form("budget"):
        epsilon = st.number_input(
            "The most that may ever be spent (ε)", min_value=0.01, value=budget.epsilon if budget else 4.0
        )
        delta, ceiling, reason = budget.delta if budget else 1e-5, None, ""
        if charged:
            reason = st.text_input(
                "Why is it raised?", help="Needed for a larger ε. It is shown here and on cards. Name no person."
            )
            promised = "" if told.ceiling is None else f" (ε = {told.ceiling:g})"
            st.caption(
                f"Something was spent, so δ stays {delta:g}. A raise is recorded. One beyond what was declared before the "
                f"first spend{promised} breaks that promise, and cards say so."
            )
        else:
            delta = st.number_input("δ", min_value=1e-12, max_value=0.01, value=delta, format="%.0e")
            ceiling = st.number_input(
                "The most that ε may become later",
                min_value=0.01,
                value=told.ceiling,
                help="Empty: no raise is foreseen.",
            )
            st.caption("A budget is a promise to these people. After the first spend a raise needs a reason.")
        if st.form_submit_button("Set"):
            set_budget(
                session.workspace(),
                dataset,
                epsilon=epsilon,
                delta=delta,
                ceiling=ceiling,
                reason=reason.strip() or None,
            )
            session.again(f"The budget of {plain(dataset)} is set.")


session.shown(page)
