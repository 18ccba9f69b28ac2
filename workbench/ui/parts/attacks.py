"""Attacks and audits of a population, each beside what guessing would achieve."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from workbench.ui.parts import places, session
from workbench.ui.parts.words import figure, moment
from workbench.workflows.evaluation.attack_results import attacks, audits
from workbench.workflows.evaluation.results import Attacked, AttackResult, KeptAudit

_HOW = "workbench audit configs/generators/aim.yaml --set dataset=NAME --canaries 500"


def show_attacks(population: str, *, can_evaluate: bool) -> None:
    """A table for each thing that was attacked, and one of audits; where there is none, how to come by one."""
    st.subheader(
        "Attacks", help="What somebody who wants to learn about single people achieved, as evaluations measured it."
    )
    found = attacks(session.workspace(), population)
    if found:
        _attacks(found)
    else:
        st.info("Nothing of these people was attacked yet. An evaluation does it.")
        _where_to(can_evaluate=can_evaluate)
    st.subheader(
        "Audits",
        help="A generator is fitted once more with artificial people, and guesses who of them was in say how much it lets out.",
    )
    _audits(audits(session.workspace(), population))


def _where_to(*, can_evaluate: bool) -> None:
    if can_evaluate:
        places.link("reports", "Evaluate a table or a model")
    else:
        places.link("synthesize", "Make a synthetic table")


def _attacks(found: list[Attacked]) -> None:
    of = {one.of: one for one in found}
    one = of[st.selectbox("Attacked", list(of), format_func=lambda name: f"{name} ({moment(of[name].made)})")]
    _bounds([attack.holds for attack in one.attacks if attack.asked])
    all_ = st.toggle("Also figures that no bound is set for")
    rows = [_row(attack) for attack in one.attacks if all_ or attack.asked]
    st.dataframe(rows, hide_index=True, alt=f"Attacks on {one.of} with estimate, baseline and verdict")
    st.caption(
        "Intervals are of 95 %. An attack that fails proves nothing, for a better one may exist. Internal: read people's rows."
    )
    places.link("reports", "The whole report", of=one.of)


def _bounds(held: Sequence[bool | None]) -> None:
    """How many of the figures that a bound is set for keep it: green only where all of them were shown to."""
    broken, unshown = held.count(False), held.count(None)
    if broken:
        st.warning(f"{broken} of {len(held)} figures pass a bound.", icon=":material/warning:")
    if unshown:
        st.warning(f"Of {unshown} of {len(held)} figures it was not shown that they keep their bound.")
    if not held:
        st.info("No bound is set for any of these figures.")
    elif not broken and not unshown:
        st.success("No figure passes a bound that was set.", icon=":material/check_circle:")


def _row(attack: AttackResult) -> dict[str, str]:
    words = {True: "within bounds", False: f"too much for {', '.join(attack.unfit)}", None: "not shown"}
    beside = attack.baseline or attack.ceiling
    return {
        "Attack": attack.attack,
        "Achieved": figure(attack.estimate.to_json()),
        "Baseline": figure(beside.to_json() if beside else None),
        "The baseline is": attack.against or "–",
        "Verdict": words[attack.holds] if attack.asked else "no bound is set",
    }


def _audits(found: list[KeptAudit]) -> None:
    if not found:
        st.info(
            "No generator was audited on these people. An audit spends as much budget as a fit; run it by the command:"
        )
        st.code(_HOW, language=None)
        return
    rows = [
        {
            "Generator": one.generator,
            "Data set": one.dataset,
            "Claimed (ε)": f"{one.claim.epsilon:g}" if one.claim else "nothing",
            "Shown, at least (ε)": f"{one.epsilon.low:.3g}",
            "Guesses": one.epsilon.n,
            "Baseline": "0 by guessing",
            "Verdict": "the claim is refuted" if one.refuted else "not refuted" if one.claim else "nothing claimed",
            "When": moment(one.made),
        }
        for one in found
    ]
    st.dataframe(rows, hide_index=True, alt="Audits with the epsilon that was claimed and the one that was shown")
    if any(one.refuted for one in found):
        st.error("A claim is refuted: make nothing more with that generator, and tell whoever maintains it.")
    st.caption("Internal, and purged by the next erasure. What an audit does not refute it does not prove.")
