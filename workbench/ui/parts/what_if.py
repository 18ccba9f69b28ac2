"""What if: the spend after several private tables that are not made yet, by the ledger's own composition."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from workbench.config import SynthesizeConfig
from workbench.generators.registry import GENERATORS
from workbench.reports.epsilon_text import odds
from workbench.ui.parts import session
from workbench.ui.parts.words import plain
from workbench.workflows.datasets.results import EpsilonDelta
from workbench.workflows.synthesis.preflight import preflight_together
from workbench.workflows.synthesis.results import JointFit, JointPreflightResult

_RUNS = "what-if"
Run = tuple[str, str, float]


def what_if(names: Sequence[str], budget: EpsilonDelta | None) -> None:
    """Composes runs that are added and taken away; nothing is read and nothing is spent."""
    st.subheader("What if?", help="What more synthetic tables would cost. Nothing is read and nothing is spent.")
    if budget is None:
        st.caption("Set a budget first.")
        return
    _add(names)
    runs: list[Run] = [run for run in st.session_state.get(_RUNS, []) if run[0] in names]
    if not runs:
        st.caption("Add the tables that you think of making, to see what all of them together would spend.")
        return
    configs = [
        SynthesizeConfig(generator=generator, dataset=dataset, epsilon=epsilon, delta=budget.delta)
        for dataset, generator, epsilon in runs
    ]
    told = preflight_together(session.workspace(), configs)
    for place, (run, found) in enumerate(zip(runs, told.runs, strict=True)):
        _row(place, run, found)
    _sum(told, budget)


def _add(names: Sequence[str]) -> None:
    with st.form("what-if-add"):
        one, two, three, four = st.columns([3, 3, 2, 2], vertical_alignment="bottom")
        dataset = one.selectbox("Data set", names)
        generator = two.selectbox("Generator", [spec.name for spec in GENERATORS if spec.private])
        epsilon = three.number_input("ε", min_value=0.01, max_value=50.0, value=1.0)
        if four.form_submit_button("Add", icon=":material/add:", width="stretch"):
            runs = st.session_state.get(_RUNS, [])
            st.session_state[_RUNS] = [*runs, (dataset, generator, float(epsilon))]


def _row(place: int, run: Run, found: JointFit) -> None:
    dataset, generator, epsilon = run
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{place + 1}.** {plain(generator)} of {plain(dataset)} at ε = {epsilon:g}")
        if found.allowed:
            st.badge(f"Allowed: ε {found.spent_after:.2f} then", color="green")
        else:
            st.badge("Refused", color="red")
        if st.button("Take away", key=f"what-if-{place}", help=f"Take away no. {place + 1}"):
            st.session_state[_RUNS] = [one for one in st.session_state[_RUNS] if one is not run]
            st.rerun()


def _sum(told: JointPreflightResult, budget: EpsilonDelta) -> None:
    before, after = told.spent_before, told.spent_after
    st.progress(
        min(1.0, after / budget.epsilon),
        text=f"ε {before:.2f} now, {after:.2f} after all of them, of {budget.epsilon:g}",
    )
    refused = [str(place) for place, run in enumerate(told.runs, 1) if not run.allowed]
    if refused:
        st.error(
            f"The budget would refuse no. {', '.join(refused)}: nothing would be read for it, and nothing spent. "
            "Take one away, or ask for a smaller ε."
        )
    st.caption(f"For each person, of all together: {odds(after, budget.delta)}")
