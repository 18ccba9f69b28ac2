"""Evaluations side by side: the best is marked only where the intervals part."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from evaluations import RELEASE, measure
from hypothesis import given
from hypothesis import strategies as st
from pages import HOSTILE, JSON, Page, loads_nothing, poisoned

from workbench.metrics.estimate import Estimate
from workbench.metrics.measure import Better, Definition, Measure
from workbench.reports.comparison_page import best, comparison_page


def found(low: float, high: float, better: Better = "higher") -> Measure:
    definition = Definition(name="utility/auc", title="AUC", formula="", range=(0, 1), better=better, source="")
    return Measure(definition=definition, estimate=Estimate(value=(low + high) / 2, low=low, high=high, n=9))


ABSENT = Measure(definition=found(0, 1).definition, reason="failed: ValueError", failed=True)


@pytest.mark.parametrize(
    ("measures", "expected"),
    [
        ([found(0.8, 0.9), found(0.5, 0.7)], 0),
        ([found(0.5, 0.7), found(0.8, 0.9)], 1),
        ([found(0.5, 0.8), found(0.8, 0.9)], None),
        ([found(0.5, 0.7, "lower"), found(0.8, 0.9, "lower")], 0),
        ([found(0.5, 0.7, "neither"), found(0.8, 0.9, "neither")], None),
        ([found(0.8, 0.9), found(0.5, 0.7), found(0.75, 0.85)], None),
        ([found(0.8, 0.9), ABSENT], None),
        ([found(0.8, 0.9), ABSENT, None, found(0.1, 0.2)], 0),
        ([found(0.8, 0.9), found(0.1, float("nan"))], None),
        ([found(0.8, 0.9), found(0.1, 0.2, "lower")], None),
        ([None, ABSENT], None),
        ([], None),
    ],
)
def test_the_best_parts_from_all_others(measures: list[Measure | None], expected: int | None) -> None:
    assert best(measures) == expected


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.3)), min_size=2, max_size=5))
def test_the_best_is_what_comparing_all_pairs_gives(ends: list[tuple[float, float]]) -> None:
    measures = [found(low, low + width) for low, width in ends]
    intervals = [(low, low + width) for low, width in ends]
    beats_all = [i for i, a in enumerate(intervals) if all(a[0] > b[1] for j, b in enumerate(intervals) if j != i)]
    assert best(measures) == (beats_all[0] if beats_all else None)


def others(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    return [copy.deepcopy(RELEASE) | change for change in changes]


THREE = others(
    {"of": "first", "facts": {"generator": "aim", "epsilon": 1.0}},
    {"of": "second", "measures": [measure("utility/tstr_auc_trees", 0.95, 0.94, 0.96, better="higher")]},
    {"of": "third", "facts": {"generator": "ctgan", "private": False}, "verdicts": []},
)


def test_figures_stand_beside_each_other_and_gaps_are_named() -> None:
    page = comparison_page(THREE)
    said = Page(page).text
    assert "first second third" in said
    row = said[said.index("Title of utility/tstr_auc_trees higher") :]
    assert row.startswith(
        "Title of utility/tstr_auc_trees higher ↑ 0.886 0.879 to 0.893 0.950 ★ 0.940 to 0.960 0.886 0.879 to 0.893"
    )
    assert page.count("★</span>") == 2  # the one that is best, and the sentence that explains the sign
    assert "Title of cost/seconds lower ↓ 41.25 not measured 41.25" in said
    assert "publication ✗ ✗ –" in said
    assert "epsilon 1 1 –" in said
    assert loads_nothing(page)
    assert page == comparison_page(copy.deepcopy(THREE))


def test_charts_show_what_is_gained_and_what_it_costs() -> None:
    told = [value or "" for name, value in Page(comparison_page(THREE)).attributes if name == "aria-label"]
    assert any(
        "against epsilon of 3 artifacts: first: 1, 0.886; second: 1, 0.950; third: no ε, 0.886." in text
        for text in told
    )
    strongest = (
        "the strongest attack of 3 artifacts: first: 0.511, 0.886; second: no attack, 0.950; third: 0.511, 0.886."
    )
    assert any(strongest in text for text in told)


def test_nothing_is_marked_across_data_sets() -> None:
    for change in ({"dataset": "german"}, {"kind": "ensemble"}):
        page = comparison_page([THREE[0], THREE[1] | change])
        assert page.count("★</span>") == 1
        assert "of different data sets or kinds" in page
        assert "What is gained" not in page


def test_what_failed_is_no_number_here_either() -> None:
    failed = measure("utility/a", 0.0, 0.0, 0.0, failed=True, reason="failed: ValueError")
    said = Page(comparison_page(others({"measures": [failed]}, {"measures": []}))).text
    assert "Title of utility/a lower ↓ failed: ValueError not measured" in said
    assert not re.search(r"\b0\.0", said)


def test_whatever_the_documents_hold_is_text() -> None:
    page = comparison_page([poisoned(RELEASE), RELEASE | {"of": HOSTILE, "facts": {HOSTILE: HOSTILE}}])
    assert loads_nothing(page)
    assert "<script" not in page


@given(changes=st.dictionaries(st.sampled_from([*RELEASE]), JSON, max_size=4))
def test_documents_of_any_shape_make_a_page(changes: dict[str, Any]) -> None:
    for documents in ([], [changes], [RELEASE | changes, RELEASE], [RELEASE | changes, changes, {}]):
        assert loads_nothing(comparison_page(documents).replace("://", "").replace("url(", ""))
