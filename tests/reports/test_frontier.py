"""The chart of advice on shards: every choice is drawn and named, the recommended one is ringed, and texts stay text."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

from workbench.reports.frontier import draw

SVG = "{http://www.w3.org/2000/svg}"


def choice(shards: int, slices: int, seconds: float, auc: float) -> dict[str, Any]:
    return {
        "shards": shards,
        "slices": slices,
        "one_request_s": seconds,
        "auc": auc,
        "low": auc - 0.01,
        "high": auc + 0.01,
    }


CHOICES = [choice(2, 1, 20.0, 0.89), choice(8, 1, 5.0, 0.87), choice(2, 4, 7.0, 0.885), choice(8, 4, 1.5, 0.865)]


def circles(svg: bytes, style: str) -> list[tuple[float, float]]:
    """The centres of the circles of a style, without the legend's, which come last."""
    found = [each for each in ElementTree.fromstring(svg).iter(f"{SVG}circle") if each.get("class", "") == style]
    return [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in found][:-1]


def test_every_choice_is_drawn_where_its_figures_say_and_one_is_ringed() -> None:
    svg = draw(CHOICES, {"shards": 8, "slices": 4}, "auc")
    assert svg == draw(CHOICES, {"shards": 8, "slices": 4}, "auc")
    one, four = circles(svg, "dot s1"), circles(svg, "dot s2")
    assert (len(one), len(four)) == (2, 2)
    points = [*one, *four]
    by_cost = sorted(range(4), key=lambda at: CHOICES[at]["one_request_s"])
    assert by_cost == sorted(range(4), key=lambda at: points[at][0])
    by_accuracy = sorted(range(4), key=lambda at: CHOICES[at]["auc"])
    assert by_accuracy == sorted(range(4), key=lambda at: -points[at][1])
    assert circles(svg, "line axis") == [points[3]]
    text = svg.decode()
    assert [text.count(f">S={shards}<") for shards in (2, 8)] == [2, 2]
    assert re.search("Recommended: S=8, R=4", text)
    assert all(word in text for word in ("1 slice<", "4 slices<", ">recommended<"))


def test_one_choice_makes_a_chart_and_a_name_stays_text() -> None:
    svg = draw([{**CHOICES[0], "<b>&": 0.5}], {"shards": 2, "slices": 1}, "<b>&")
    assert b"<b>" not in svg
    assert len(circles(svg, "dot s1")) == 1
