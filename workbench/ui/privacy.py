"""Privacy: each population's budget, what it was spent on, and what one more table would leave."""

from __future__ import annotations

from typing import Any

import streamlit as st

from workbench.config import MARGINAL, SynthesizeConfig
from workbench.reports.meaning import odds
from workbench.ui import places, session
from workbench.ui.words import moment, plain
from workbench.workflows.ledger import set_budget, show_ledger
from workbench.workflows.overview import overview
from workbench.workflows.preflight import preflight


def page() -> None:
    """The whole page."""
    st.title("Privacy budget")
    seen = overview(session.workspace())
    if not seen["datasets"]:
        st.info("There is no data set yet, so there is nobody whose privacy could be spent.")
        places.link("data", "Take in a data set")
        return
    of = {one["population"]: one["dataset"] for one in seen["datasets"]}
    population = st.selectbox("Whose people?", list(of), help="All tables about the same people share one budget.")
    told = show_ledger(session.workspace(), of[population])
    with session.reported():
        _spent(told)
    with session.reported():
        _entries(told["entries"])
    with session.reported():
        _what_if([one["dataset"] for one in seen["datasets"] if one["population"] == population], told)
    if session.may("administer"):
        with session.reported():
            _budget(of[population], told["budget"])


def _spent(told: dict[str, Any]) -> None:
    budget, spent = told["budget"], told["spent"]["epsilon"]
    if budget is None:
        st.warning("No budget is set, so nothing private may be read of these people.")
        return
    used, left, most = st.columns(3)
    used.metric(
        "Spent (ε)", f"{spent:.2f}", border=True, help=f"All that was made together: {odds(spent, budget['delta'])}"
    )
    left.metric("Left (ε)", f"{max(0.0, budget['epsilon'] - spent):.2f}", border=True)
    most.metric(
        "Budget (ε)",
        f"{budget['epsilon']:g}",
        border=True,
        help=f"At δ = {budget['delta']:g}. What is spent never comes back.",
    )
    st.progress(min(1.0, spent / budget["epsilon"]), text=f"{spent / budget['epsilon']:.0%} of the budget is spent")
    if (exact := told["spent"]["epsilon_pld"]) is not None:
        st.caption(f"Counted more exactly, by privacy-loss distributions: ε = {exact:.3f}.")


def _entries(entries: list[dict[str, Any]]) -> None:
    st.subheader("What each spend bought")
    if not entries:
        st.info("Nothing was spent yet.")
        places.link("synthesize", "Make a synthetic table")
        return
    rows = [
        {
            "When": moment(one["created"]),
            "What for": one["purpose"],
            "Whom it concerns": _scope(one["scope"]),
            "Mechanism": ", ".join(
                f"{k} {v:.4g}" if isinstance(v, float) else str(v) for k, v in one["event"].items() if k != "events"
            ),
            "By": one["actor"],
        }
        for one in reversed(entries)
    ]
    st.dataframe(rows, hide_index=True, alt="Charges with purpose, scope and mechanism")
    parts = [one for one in entries if one["scope"] != [[0.0, 1.0]]]
    if parts:
        st.caption(
            "A charge for a part concerns only the people whose keyed hash lies there. Nobody is in two parts, so the spend is "
            "that of whoever is concerned most."
        )


def _scope(scope: list[list[float]]) -> str:
    if scope == [[0.0, 1.0]]:
        return "everybody"
    return "part " + ", ".join(f"{low:.1%} to {high:.1%}" for low, high in scope)


def _what_if(names: list[str], told: dict[str, Any]) -> None:
    st.subheader("What if?", help="What one more synthetic table would cost. Nothing is read and nothing is spent.")
    budget = told["budget"]
    if budget is None:
        st.caption("Set a budget first.")
        return
    one, two, three = st.columns(3)
    dataset = one.selectbox("Data set", names)
    generator = two.selectbox("Generator", [*MARGINAL, "dp_ctgan"])
    epsilon = three.number_input("ε", min_value=0.01, max_value=50.0, value=1.0)
    config = SynthesizeConfig(generator=generator, dataset=dataset, epsilon=epsilon, delta=budget["delta"])
    privacy = preflight(session.workspace(), config)["privacy"]
    after = privacy["spent_after"]
    st.progress(
        min(1.0, after / budget["epsilon"]),
        text=f"ε {privacy['spent_before']:.2f} now, {after:.2f} after, of {budget['epsilon']:g}",
    )
    if privacy["allowed"]:
        st.caption(f"Allowed. For each person, of all together: {odds(after, budget['delta'])}")
    else:
        st.error("The budget would refuse it, and nothing would be read.")


def _budget(dataset: str, budget: dict[str, float] | None) -> None:
    with st.expander("Change the budget" if budget else "Set the budget", expanded=budget is None), st.form("budget"):
        epsilon = st.number_input(
            "The most that may ever be spent (ε)", min_value=0.01, value=budget["epsilon"] if budget else 4.0
        )
        delta = st.number_input(
            "δ", min_value=1e-12, max_value=0.01, value=budget["delta"] if budget else 1e-5, format="%.0e"
        )
        st.caption(
            "A budget is a promise to these people. Raising it later breaks what they were told; the audit log keeps it."
        )
        if st.form_submit_button("Set"):
            set_budget(session.workspace(), dataset, epsilon=epsilon, delta=delta)
            session.again(f"The budget of {plain(dataset)} is set.")


session.shown(page)
