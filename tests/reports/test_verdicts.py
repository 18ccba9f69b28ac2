"""A use is said to be fit only where every condition was shown to hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from evaluations import RELEASE, measure
from hypothesis import given
from hypothesis import strategies as st

from workbench.config import CONFIGS, read_config
from workbench.errors import InputError
from workbench.metrics.estimate import Estimate
from workbench.metrics.measure import Definition, Measure
from workbench.reports.verdict import Condition, VerdictRules, verdicts

AUC = measure("disclosure/mia_auc", 0.52, 0.5, 0.54, baseline=0.5, ceiling=0.51)


def judged(conditions: list[dict[str, Any]], *, facts: Any = None, measures: Any = None) -> tuple[bool | None, str]:
    """The verdict on one use with these conditions, and what is said."""
    rules = VerdictRules.model_validate({"release": {"use": conditions}})
    document = {"kind": "release", "facts": facts, "measures": [AUC] if measures is None else measures}
    (verdict,) = verdicts(document, rules)
    assert verdict.use == "use"
    return verdict.holds, " | ".join(verdict.because)


@pytest.mark.parametrize(
    ("condition", "holds", "said"),
    [
        ({"at_most": 0.55}, True, "0.520, 0.540 at worst; at most 0.550 asked"),
        ({"at_most": 0.54}, True, "at most 0.540"),
        ({"at_most": 0.53}, False, "0.540 at worst; at most 0.530 asked"),
        ({"at_most": 0.53, "by": "value"}, True, "0.520; at most 0.530 asked"),
        ({"at_least": 0.51}, False, "0.500 at worst; at least 0.510 asked"),
        ({"at_least": 0.5}, True, "at least 0.500 asked"),
        ({"at_least": 0.51, "by": "value"}, True, "0.520; at least 0.510 asked"),
        ({"at_most": 0.03, "against": "ceiling"}, True, "at most 0.540 asked, the ceiling being 0.510"),
        ({"at_most": 0.029, "against": "ceiling"}, False, "at most 0.539 asked, the ceiling being 0.510"),
        ({"at_least": -0.01, "against": "ceiling"}, True, "at least 0.500 asked"),
        ({"at_most": 0.03, "against": "baseline"}, False, "the baseline being 0.500"),
        ({"at_least": 0, "against": "baseline"}, True, "the baseline being 0.500"),
    ],
)
def test_a_bound_holds_for_the_worse_end(condition: dict[str, Any], holds: bool, said: str) -> None:
    found, because = judged([{"measure": "disclosure/mia_auc", **condition}])
    assert found is holds
    assert said in because


@pytest.mark.parametrize(
    ("facts", "condition", "holds", "said"),
    [
        ({"private": True}, {"fact": "private", "equals": True}, True, "private: yes"),
        ({"private": False}, {"fact": "private", "equals": True}, False, "private: no; yes asked"),
        ({"private": 1}, {"fact": "private", "equals": True}, False, "private: 1; yes asked"),
        ({}, {"fact": "private", "equals": True}, None, "not shown: private is not stated"),
        ({"private": None}, {"fact": "private", "equals": True}, None, "not stated"),
        ({"finding": "forgotten"}, {"fact": "finding", "equals": "forgotten"}, True, "forgotten"),
        ({"epsilon": 3}, {"fact": "epsilon", "at_most": 3}, True, "epsilon: 3; at most 3 asked"),
        ({"epsilon": 3.1}, {"fact": "epsilon", "at_most": 3}, False, "epsilon: 3.1"),
        ({"epsilon": float("inf")}, {"fact": "epsilon", "at_most": 3}, None, "epsilon is not a number"),
        ({"epsilon": float("nan")}, {"fact": "epsilon", "at_most": 3}, None, "epsilon is not a number"),
        ({"epsilon": True}, {"fact": "epsilon", "at_most": 3}, None, "epsilon is not a number"),
        ({"epsilon": "1"}, {"fact": "epsilon", "at_most": 3}, None, "epsilon is not a number"),
        ("none", {"fact": "epsilon", "at_most": 3}, None, "not stated"),
    ],
)
def test_a_fact_is_known_or_shows_nothing(facts: Any, condition: dict[str, Any], holds: Any, said: str) -> None:
    found, because = judged([condition], facts=facts)
    assert found is holds
    assert said in because


ABSENT = [
    ({**AUC, "estimate": None, "reason": "not computable because nobody is there"}, "because nobody is there"),
    ({**AUC, "estimate": None, "reason": "failed: ValueError", "failed": True}, "failed: ValueError"),
    ({**AUC, "reason": "failed: ValueError", "failed": True}, "failed: ValueError"),
    ({**AUC, "estimate": {"value": float("nan"), "low": 0.0, "high": 0.1, "n": 1}}, "not computable"),
    ({**AUC, "estimate": {"value": 0.1, "low": float("nan"), "high": float("nan"), "n": 1}}, "has no interval"),
    ({**AUC, "estimate": {"value": 0.1, "low": 0.0, "high": None, "n": 1}}, "has no interval"),
    ({**AUC, "estimate": {"low": 0.0, "high": 0.1}}, "not computable"),
    ({**AUC, "estimate": 0.1}, "not computable"),
    ({**AUC, "ceiling": None}, "has no ceiling to compare with"),
    ({**AUC, "name": "disclosure/other"}, "disclosure/mia_auc was not measured"),
    ("nothing", "was not measured"),
]


@pytest.mark.parametrize(("found", "said"), ABSENT)
def test_what_was_not_shown_is_never_yes(found: Any, said: str) -> None:
    holds, because = judged([{"measure": "disclosure/mia_auc", "at_most": 9, "against": "ceiling"}], measures=[found])
    assert holds is None
    assert because.startswith("not shown: ")
    assert said in because


def test_one_broken_condition_is_enough_and_the_unshown_is_said_too() -> None:
    kept, broken = {"measure": "disclosure/mia_auc", "at_most": 1}, {"measure": "disclosure/mia_auc", "at_most": 0}
    unshown = {"measure": "utility/auc", "at_least": 0}
    assert judged([kept, kept])[0] is True
    assert judged([kept, unshown])[0] is None
    for conditions in ([unshown, broken, kept], [broken, unshown]):
        holds, because = judged(conditions)
        assert holds is False
        assert because.index("at most 0.000 asked") < because.index("not shown: utility/auc was not measured")
        assert "at most 1.000" not in because


def test_all_measures_of_a_pattern_must_hold() -> None:
    measures = [
        measure("utility/auc_a", 0.9, 0.8, 1.0),
        measure("utility/auc_b", 0.7, 0.6, 0.8),
        measure("utility/f1", 0, 0, 0),
    ]
    assert judged([{"measure": "utility/auc_*", "at_least": 0.6}], measures=measures)[0] is True
    holds, because = judged([{"measure": "utility/auc_*", "at_least": 0.7}], measures=measures)
    assert (holds, because.count("asked")) == (False, 1)
    assert judged([{"measure": ["utility/r2_*", "utility/auc_?"], "at_least": 0.6}], measures=measures)[0] is True
    assert judged([{"measure": "utility/*", "at_least": 0.6}], measures=measures)[0] is False
    assert (
        "utility/r2_* or cost/* was not"
        in judged([{"measure": ["utility/r2_*", "cost/*"], "at_least": 0}], measures=measures)[1]
    )


def test_an_interval_that_leaves_out_its_value_is_judged_by_the_value() -> None:
    odd = {**AUC, "estimate": {"value": 0.6, "low": 0.4, "high": 0.5, "n": 9}}
    assert judged([{"measure": "disclosure/*", "at_most": 0.55}], measures=[odd])[0] is False


def test_a_measure_is_judged_as_it_was_written() -> None:
    definition = Definition(
        name="utility/auc",
        title="AUC",
        formula="",
        range=(0, 1),
        better="higher",
        source="",
        baseline="the naive one",
        ceiling="the real one",
    )
    estimate = Estimate(value=0.9, low=0.8, high=1.0, n=7)
    written = Measure(definition=definition, estimate=estimate, ceiling=estimate).to_json()
    assert (written["ceiling_is"], written["baseline_is"], written["ceiling"]["value"]) == (
        "the real one",
        "the naive one",
        0.9,
    )
    assert judged([{"measure": "utility/auc", "at_least": -0.1, "against": "ceiling"}], measures=[written])[0] is True


FAMILIES = ("fidelity", "utility", "disclosure")


@given(
    lost=st.sets(st.integers(0, len(RELEASE["measures"]) - 1)), how=st.sampled_from(["failed", "no estimate", "gone"])
)
def test_losing_measures_never_makes_a_use_fit(lost: set[int], how: str) -> None:
    rules = VerdictRules.model_validate({"release": {f: [{"measure": f"{f}/*", "at_most": 1}] for f in FAMILIES}})
    changed = {
        "failed": {"failed": True},
        "no estimate": {"estimate": None, "reason": "why"},
        "gone": {"name": "lost/it"},
    }[how]
    measures = [m | changed if n in lost else m for n, m in enumerate(RELEASE["measures"])]
    for verdict in verdicts({**RELEASE, "measures": measures}, rules):
        hit = [n in lost for n, m in enumerate(RELEASE["measures"]) if m["name"].startswith(verdict.use)]
        assert verdict.holds is (None if (all(hit) if how == "gone" else any(hit)) else True)


def test_rules_are_for_the_kind_of_thing() -> None:
    rules = VerdictRules.model_validate({"erasure": {"forgotten": [{"fact": "exact", "equals": True}]}})
    assert [v.to_json() for v in verdicts({"kind": "erasure", "facts": {"exact": True}}, rules)] == [
        {"use": "forgotten", "holds": True, "because": ["exact: yes"]}
    ]
    for kind in ("release", "ensemble", "model_config", "", None, 3):
        assert verdicts({"kind": kind}, rules) == []


@pytest.mark.parametrize(
    ("condition", "fault"),
    [
        ({}, "either a measure or a fact"),
        ({"measure": "a/b", "fact": "private", "at_most": 1}, "either a measure or a fact"),
        ({"measure": "a/b"}, "one of at_most, at_least and equals"),
        ({"measure": "a/b", "at_most": 1, "at_least": 0}, "one of at_most, at_least and equals"),
        ({"measure": "a/b", "equals": True}, "never known exactly"),
        ({"fact": "epsilon", "at_most": 1, "against": "ceiling"}, "for measures"),
        ({"fact": "epsilon", "at_most": 1, "by": "value"}, "for measures"),
        ({"measure": "a/b", "at_most": float("nan")}, "finite"),
        ({"measure": "a/b", "at_most": 1, "atleast": 1}, "Extra inputs"),
        ({"measure": [], "at_most": 1}, "at least 1 item"),
    ],
)
def test_rules_that_ask_for_nothing_are_refused(condition: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Condition.model_validate(condition)


def test_a_use_without_conditions_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    for document in ("release: {publication: []}", "releases: {}", "release: {publication: {at_most: 1}}"):
        path.write_text(document)
        with pytest.raises(InputError, match=r"mine\.yaml is not a valid config: release"):
            read_config(path, VerdictRules)


def test_the_rules_that_ship_publish_nothing_without_privacy() -> None:
    rules = read_config(CONFIGS / "verdicts.yaml", VerdictRules)
    assert list(rules.release) == ["software testing", "model development", "publication"]
    assert list(rules.ensemble) == ["internal use", "publication of predictions", "publication of the model"]
    assert list(rules.erasure) == ["forgotten"]
    held = {v.use: v.holds for v in verdicts(RELEASE, rules)}
    assert held == {"software testing": True, "model development": True, "publication": True}
    for change in ({"private": False}, {"epsilon": 4.0}, {"delta": 1e-3}):
        held = {v.use: v.holds for v in verdicts({**RELEASE, "facts": RELEASE["facts"] | change}, rules)}
        assert (held["software testing"], held["publication"]) == (True, False), change
    assert {v.holds for v in verdicts({"kind": "ensemble"}, rules)} == {None}
