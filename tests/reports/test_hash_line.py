"""The drawing of the hash line: each charge over the people it concerns, and the spend at each place."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from workbench.reports.charts.hash_line import MOST, hash_line, told

ALONG = [[0.0, 0.25, 1.0], [0.25, 0.5, 2.0], [0.5, 1.0, 1.0]]


def charge(number: int, low: float = 0.0, high: float = 1.0, purpose: str = "fit") -> dict[str, object]:
    return {"number": number, "scope": [[low, high]], "purpose": purpose}


def boxes(svg: str, style: str) -> list[tuple[float, float]]:
    """Left edge and width of the rectangles of a style, as shares of the line."""
    found = re.findall(rf'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" height="[\d.]+" class="{style}"', svg)
    left, whole = 48.0, 340.0 - 58.0
    return [(round((float(x) - left) / whole, 2), round(float(width) / whole, 2)) for x, width in found]


def test_each_charge_is_a_bar_over_whom_it_concerns_and_the_spend_an_area() -> None:
    svg = hash_line([charge(1), charge(2, 0.25, 0.5)], ALONG, 4.0)
    assert ElementTree.fromstring(svg).attrib["role"] == "img"
    assert boxes(svg, "bar") == [(0, 0.25), (0.25, 0.25), (0.5, 0.5)]
    assert boxes(svg, "f1") == [(0, 1)]
    assert boxes(svg, "f2") == [(0.25, 0.25)]
    assert "budget 4" in svg


def test_it_says_what_it_shows() -> None:
    said = told([charge(1), charge(2)], ALONG, 4.0)
    assert said == "The hash line with 2 charges: the composed epsilon is between 1.000 and 2.000, of a budget of 4."
    assert said in hash_line([charge(1), charge(2)], ALONG, 4.0)


@pytest.mark.parametrize("along", [[[0, 0.5, 2.0]], [[0.5, 1, 2.0]], [[0, 0.25, 2.0], [0.5, 1, 2.0]]])
def test_where_nothing_was_charged_nothing_is_spent(along: list[list[float]]) -> None:
    assert "between 0 and 2.000" in told([charge(1)], along, 4.0).replace("0.000", "0")


def test_of_very_many_charges_the_newest_are_drawn() -> None:
    svg = hash_line([charge(number) for number in range(1, MOST + 11)], ALONG, 4.0)
    assert f"no. {MOST + 10}<" in svg
    assert "no. 10<" not in svg


def test_a_purpose_is_text_alone() -> None:
    svg = hash_line([charge(1, purpose="<script>alert(1)</script>")], ALONG, 4.0)
    assert "<script" not in svg
    assert ElementTree.fromstring(svg) is not None
