"""The page of an evaluation: the verdict first, every figure as it is, nothing loaded, and whatever it is given is text."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from evaluations import CURVE, RELEASE, measure
from hypothesis import given
from hypothesis import strategies as st
from pages import HOSTILE, JSON, Page, loads_nothing, poisoned

from workbench.reports.evaluation_page import evaluation_page


def text(document: dict[str, Any]) -> str:
    return Page(evaluation_page(document)).text


def alternatives(page: str) -> list[str]:
    """What the page's images are for whoever does not see them."""
    return [value or "" for name, value in Page(page).attributes if name == "aria-label"]


def test_it_gives_the_verdict_first_then_charts_then_figures_then_the_method() -> None:
    said = text(RELEASE)
    order = (
        "Internal: computed from personal records.",
        "Software testing",
        "private: no; yes asked",
        "odds that the person was in the data move by a factor of at most 2.72",
        "Charts",
        "Utility against epsilon",
        "Columns",
        "Fidelity",
        "Utility How well",
        "Disclosure",
        "not a privacy measure",
        "Cost",
        "Method",
        "Figures were taken on 1,000 records.",
        "rows: 1,000 and of: 39,074",
        "½ Σ|p - q|; range 0 to 1; baseline: columns shuffled; ceiling: the real holdout; Somebody 2021, eq. 3.",
        "range 0 to any",
        "No attack here is the strongest there is.",
    )
    places = [said.index(words) for words in order]
    assert places == sorted(places)
    assert "2 January 2026, 10:30 UTC" in said


@pytest.mark.parametrize(
    ("holds", "style"),
    [
        ((True, True), "verdict"),
        ((True, False), "verdict open"),
        ((False, None), "verdict open"),
        ((False, False), "verdict bad"),
    ],
)
def test_the_verdict_says_in_signs_words_and_colour_what_holds(holds: tuple[Any, ...], style: str) -> None:
    verdicts = [{"use": f"use {n}", "holds": h, "because": [f"reason {n}"]} for n, h in enumerate(holds)]
    page = evaluation_page({**RELEASE, "verdicts": verdicts})
    assert f'<section class="{style}">' in page
    signs, meanings = (
        {True: "✓", False: "✗", None: "?"},
        {True: "conditions met", False: "conditions not met", None: "not shown"},
    )
    said = Page(page).text
    assert f"Use 0 {signs[holds[0]]} , use 1 {signs[holds[1]]}" in said.replace("\xa0", " ").replace("  ", " ")
    for n, held in enumerate(holds):
        assert f"use {n} : {meanings[held]} reason {n}" in said


@pytest.mark.parametrize("holds", ["yes", 1, None, "true", [True]])
def test_only_true_is_a_yes(holds: Any) -> None:
    said = text({**RELEASE, "verdicts": [{"use": "publication", "holds": holds}]})
    assert "✓" not in said
    assert "publication : not shown" in said


def row(said: str, title: str) -> str:
    """The page's words from a title in a table to the next."""
    begin = said.index("Fidelity How like")
    return said[said.index(title, begin) :].partition("Title of")[2].partition("Title of")[0]


def test_a_figure_stands_with_its_interval_its_baseline_and_its_ceiling() -> None:
    assert "0.941 0.938 to 0.944, n = 1,234 0.800 0.980 higher ↑" in row(text(RELEASE), "Title of fidelity/pair_trends")
    assert "41.25 no interval, n = 1,234 – – lower ↓" in row(text(RELEASE), "Title of cost/seconds")
    assert "value 0.941, baseline 0.800, ceiling 0.980" in alternatives(evaluation_page(RELEASE))


def test_what_failed_or_has_no_meaning_is_said_and_is_no_number() -> None:
    failed = measure("fidelity/a", 0.0, 0.0, 0.0, failed=True, reason="failed: ValueError", ceiling=0.123, curve=CURVE)
    absent = measure("fidelity/b", 0.0, estimate=None, reason="not computable because there are 3 rows", ceiling=0.123)
    nan = measure("fidelity/c", float("nan"), 0.0, 1.0)
    page = evaluation_page({**RELEASE, "pictures": {}, "measures": [failed, absent, nan, measure("fidelity/d", 0.5)]})
    said = Page(page).text
    assert "failed: ValueError" in row(said, "Title of fidelity/a")
    assert "not computable because there are 3 rows" in row(said, "Title of fidelity/b")
    assert "not computable: no reason was given" in row(said, "Title of fidelity/c")
    for name in "abc":
        assert not re.search(r"\d\.\d{3}", row(said, f"Title of fidelity/{name}"))
    assert "Title of fidelity/a ." not in said
    assert ">0.000<" not in page
    assert "nan" not in page.lower().replace("finance", "")


def test_suppressed_cells_are_drawn_as_such_and_never_as_nothing() -> None:
    page = evaluation_page(RELEASE)
    assert "rare: training suppressed, synthetic suppressed" in page
    assert "other (suppressed): training 5\xa0%, synthetic suppressed" in page
    assert page.count('class="gap"><title>rare') == 1
    assert ">suppressed</text>" in page
    assert any("Largest difference: Åland, training 25\xa0%, synthetic 31\xa0%." in told for told in alternatives(page))
    hidden = {"name": "x", "labels": ["a", "b"], "training": [None, None], "synthetic": [None, None]}
    assert "All cells are suppressed." in text({"pictures": {"columns": [hidden]}})


def test_a_column_of_very_many_cells_sums_the_smallest() -> None:
    shares = [0.5, *[0.01] * 49, 0.01]
    column = {"name": "land", "labels": [f"land {n}" for n in range(51)], "training": shares, "synthetic": shares}
    page = evaluation_page({"pictures": {"columns": [column]}})
    assert page.count('class="bar"><title>') == 20
    assert "32 others: training 32\xa0%, synthetic 32\xa0%" in page


def test_charts_say_what_they_show() -> None:
    told = " ".join(alternatives(evaluation_page(RELEASE)))
    assert (
        "rates of 2 attacks: Title of disclosure/mia_distance_auc 0.507; Title of disclosure/mia_density_auc 0.511."
        in told
    )
    assert "utility against epsilon of 3 artifacts: a: 1, 0.880; b: 0.3, 0.840; c: no ε, 0.870." in told
    assert "associations between 3 columns: 0.100 on average; the largest is -0.100, of hours and town." in told
    assert "4 shards: 1 trained, 1 retrained, 1 quarantined, 1 empty." in told
    page = evaluation_page(RELEASE)
    assert "<title>passed and hours: not known</title>" in page
    assert "<title>shard 1: retrained, slices 4 to 4 of 4, generation 2, 1.25 s</title>" in page


def test_of_very_many_shards_those_that_changed_are_drawn() -> None:
    shards = [{"shard": n, "state": "retrained" if n == 999 else "trained"} for n in range(1000)]
    page = evaluation_page({"pictures": {"shards": shards}})
    assert "shard 999: retrained" in page
    assert "1000 shards: 999 trained, 1 retrained. 300 of them are drawn." in page


def test_equal_documents_make_equal_pages_that_load_nothing() -> None:
    page = evaluation_page(RELEASE)
    assert page == evaluation_page(json.loads(json.dumps(RELEASE)))
    assert loads_nothing(page)


def test_the_page_of_a_wide_table_is_small() -> None:
    labels = [f"category {n}" for n in range(20)]
    columns = [
        {"name": f"column {n}", "labels": labels, "training": [0.05] * 20, "synthetic": [0.04] * 20} for n in range(100)
    ]
    matrix = [[0.1] * 100] * 100
    associations = {"names": [c["name"] for c in columns], "training": matrix, "synthetic": matrix}
    page = evaluation_page({**RELEASE, "pictures": {"columns": columns, "associations": associations}})
    assert len(page.encode()) < 1_500_000


def test_an_empty_document_makes_a_page_that_says_what_is_missing() -> None:
    said = text({})
    for words in ("No verdict was given on it.", "Nothing was measured.", "None were stated."):
        assert words in said
    assert "Charts" not in said


def test_whatever_the_document_holds_is_text() -> None:
    document = poisoned(RELEASE)
    document["facts"] |= {HOSTILE: HOSTILE}
    document["sampled"] = {HOSTILE: HOSTILE}
    for kind in ("release", HOSTILE):
        page = evaluation_page({**document, "kind": kind})
        assert loads_nothing(page)
        assert set(Page(page).tags) <= set(Page(evaluation_page(RELEASE)).tags)


FIELDS = st.sampled_from([*RELEASE, *RELEASE["measures"][0], *RELEASE["pictures"], *RELEASE["pictures"]["columns"][0]])


@given(changes=st.dictionaries(FIELDS, JSON | st.lists(st.lists(JSON, max_size=2), max_size=2), max_size=6), whole=JSON)
def test_a_document_of_any_shape_makes_a_page(changes: dict[str, Any], whole: Any) -> None:
    document = copy.deepcopy(RELEASE) | changes
    estimate = {"value": whole, "low": whole, "high": 0.5, "n": whole}
    inner = {
        "measures": [measure("a/b", 0.5) | changes, {"estimate": estimate, "curve": [[whole, 0.5], whole]}, whole],
        "verdicts": [changes, whole, {"because": whole}],
        "pictures": {
            "columns": [RELEASE["pictures"]["columns"][0] | changes, whole],
            "associations": RELEASE["pictures"]["associations"] | changes,
            "tradeoff": [{"utility": estimate, "epsilon": whole}, changes, whole],
            "shards": [{"shard": whole, "slices": whole, "first_redone": whole, "state": whole}, changes, whole],
        },
    }
    for each in (
        document,
        RELEASE | inner,
        {"pictures": whole, "facts": {"epsilon": whole, "delta": whole, "private": True}},
    ):
        assert loads_nothing(evaluation_page(each).replace("://", "").replace("url(", ""))


@given(value=st.floats() | st.integers(), low=st.floats(), high=st.floats(), epsilon=st.floats(), share=st.floats())
def test_numbers_of_any_size_make_a_page(value: float, low: float, high: float, epsilon: float, share: float) -> None:
    estimate = {"value": value, "low": low, "high": high, "n": 9}
    document = {
        "facts": {"private": True, "epsilon": epsilon, "delta": share},
        "measures": [
            measure(
                "disclosure/x", 0.5, estimate=estimate, baseline=high, ceiling=low, curve=[[share, value], [low, high]]
            )
        ],
        "pictures": {
            "tradeoff": [
                {"id": "a", "epsilon": epsilon, "utility": estimate},
                {"id": "b", "epsilon": share, "utility": estimate},
            ],
            "columns": [{"name": "x", "labels": ["a", "b"], "training": [share, low], "synthetic": [high, share]}],
            "associations": {"names": ["a", "b"], "training": [[1], [share]], "synthetic": [[1], [low]]},
        },
    }
    page = evaluation_page(document)
    assert loads_nothing(page)
    assert not re.search(r'"-?(nan|inf)"|[ ,"](nan|inf)[ ,"]', page)


def test_a_shard_is_coloured_from_the_first_slice_that_was_trained_again() -> None:
    heights = {}
    for first in (0, 3, 4, None):
        shard = {"shard": 7, "state": "retrained", "slices": 4, "first_redone": first}
        (height,) = re.findall(
            r'height="([\d.]+)" class="f2"/><text', evaluation_page({"pictures": {"shards": [shard]}})
        )
        heights[first] = float(height)
    assert heights == {0: 26.0, 3: 6.5, 4: 0.0, None: 26.0}


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    digits = colour * 2 if len(colour) == 3 else colour
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_colours_have_the_contrast_of_wcag_aa(scheme: str) -> None:
    style = evaluation_page({}).partition("<style>")[2].partition("</style>")[0]
    pattern = {
        "light": r"^:root \{([^}]*)\}",
        "dark": r"dark\) \{ :root \{([^}]*)\}",
        "print": r"print \{ :root \{([^}]*)\}",
    }
    colours: dict[str, str] = {}
    for name in ("light", scheme):
        for block in re.findall(pattern[name], style, flags=re.MULTILINE):
            colours |= dict(re.findall(r"--([\w-]+): #(\w+)", block))
    for text, grounds in {
        "ink": ("paper", "soft", "good-soft", "warn-soft", "bad-soft"),
        "dim": ("paper",),
        "good": ("paper", "good-soft", "warn-soft", "bad-soft"),
        "warn": ("paper", "good-soft", "warn-soft", "bad-soft"),
        "bad": ("paper", "good-soft", "warn-soft", "bad-soft"),
        **{f"s{n}": ("paper",) for n in range(1, 7)},
    }.items():
        for ground in grounds:
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
