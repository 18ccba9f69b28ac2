"""A condition is read by the declared domain, and says exactly which values and which share of each cell it allows."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.schema import Codec, Within
from workbench.schema.conditions import parse_where
from workbench.schema.schema import parse_schema

DAY = 86_400_000_000
COLUMNS: dict[str, Any] = {
    "level": {"kind": "ordinal", "categories": ["low", "mid", "high"], "missing": True},
    "grade": {"kind": "integer", "bounds": [1, 5], "missing": True},
    "sex": {"kind": "categorical", "categories": ["F", "M", "a|b", "missing", "x=y"]},
    "flag": {"kind": "boolean", "missing": True},
    "age": {"kind": "integer", "bounds": [-10, 90], "bins": 7, "missing": True},
    "size": {"kind": "continuous", "bounds": [-2, 4], "bins": [0, 1.5]},
    "fixed": {"kind": "continuous", "bounds": [2, 2]},
    "day": {"kind": "datetime", "bounds": ["2020-01-01T00:00:00", "2020-01-11T00:00:00"], "bins": 5},
    "a=b": {"kind": "boolean"},
    "a": {"kind": "boolean"},
    "note": {"kind": "text", "role": "drop"},
}
GRADE = {"determined": {"column": "grade", "by": "level", "values": {"low": 1, "mid": 2, "high": 2}}}
CODEC = Codec(
    parse_schema(
        {"population": "p", "identity_type": "i", "subject": "row", "columns": COLUMNS, "constraints": [GRADE]},
        source="s",
    )
)


def _codes(*codes: int, missing: bool = False) -> Within:
    return Within(codes=frozenset(codes), missing=missing)


READ: dict[str, tuple[list[str], dict[str, Within]]] = {
    "nothing": ([], {}),
    "a category": (["sex=F"], {"sex": _codes(0)}),
    "categories": (["sex=F|M"], {"sex": _codes(0, 1)}),
    "a category with a bar": (["sex=a|b"], {"sex": _codes(2)}),
    "a category called missing": (["sex=missing"], {"sex": _codes(3)}),
    "a category with an equals sign": (["sex=x=y"], {"sex": _codes(4)}),
    "a boolean": (["flag=Yes"], {"flag": _codes(1)}),
    "a gap": (["flag=missing"], {"flag": _codes(missing=True)}),
    "a value or a gap": (["flag=true|missing"], {"flag": _codes(1, missing=True)}),
    "a range": (["age=30..39"], {"age": Within(low=30, high=39)}),
    "a number": (["age=30"], {"age": Within(low=30, high=30)}),
    "negative numbers": (["age=-5..-1"], {"age": Within(low=-5, high=-1)}),
    "a range without a low end": (["age=..39"], {"age": Within(low=-10, high=39)}),
    "a range without a high end": (["age=39.."], {"age": Within(low=39, high=90)}),
    "a range or a gap": (["age=30..39|missing"], {"age": Within(low=30, high=39, missing=True)}),
    "a number's gap": (["age=missing"], {"age": Within(missing=True)}),
    "decimals": (["size=-1.5..2.25"], {"size": Within(low=-1.5, high=2.25)}),
    "the one value of a continuous domain": (["fixed=2"], {"fixed": Within(low=2, high=2)}),
    "dates": (["day=2020-01-02..2020-01-03"], {"day": Within(low=DAY, high=2 * DAY)}),
    "a name with an equals sign": (["a=b=true", "a=false"], {"a=b": _codes(1), "a": _codes(0)}),
    "a determined column": (["grade=2..5"], {"level": _codes(1, 2)}),
    "a determined gap": (["grade=missing"], {"level": _codes(missing=True)}),
    "a determined column and its source": (["grade=2", "level=low|high|missing"], {"level": _codes(2)}),
    "white space": (["sex= F | M "], {"sex": _codes(0, 1)}),
}


@pytest.mark.parametrize("name", READ)
def test_a_condition_is_read_by_the_domain(name: str) -> None:
    texts, expected = READ[name]
    assert parse_where(CODEC, texts) == expected


REFUSED: dict[str, tuple[list[str], str]] = {
    "no column": (["hobby=F"], "a condition on 'hobby'; the columns are"),
    "a column that is not stored": (["note=x"], "a condition on 'note'"),
    "no equals sign": (["sex"], "without ="),
    "an unknown category": (["sex=f"], "'sex' lies outside its domain"),
    "no category": (["sex="], "'sex' lies outside its domain"),
    "half a list": (["sex=F|"], "'sex' lies outside its domain"),
    "no boolean": (["flag=maybe"], "'flag' lies outside its domain: true or false"),
    "no number": (["age=young"], "'age' lies outside its domain: integer from -10"),
    "a number outside": (["age=30..91"], "'age' lies outside its domain"),
    "a fraction of a whole number": (["age=30.5"], "'age' lies outside its domain"),
    "not a number": (["size=nan"], "'size' lies outside its domain"),
    "no end": (["size="], "'size' lies outside its domain"),
    "no such day": (["day=2020-02-30"], "'day' lies outside its domain"),
    "a reversed range": (["age=39..30"], "'age' is reversed"),
    "two ranges": (["age=1..2|5..6"], "'age' is one range"),
    "a gap where there is none": (["size=missing"], "'size' is never missing"),
    "one point of a continuum": (["size=1"], "no value of 'size'"),
    "a column twice": (["age=30", "age=31"], "several conditions on 'age'"),
    "a determined value of no category": (["grade=3..4"], r"no value of 'level' meets the conditions on \['grade'\]"),
    "a source that contradicts": (["grade=2", "level=low"], "no value of 'level'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_condition_that_nothing_can_meet_is_refused(name: str) -> None:
    texts, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        parse_where(CODEC, texts)


WITHINS = {
    "sex": [_codes(0), _codes(1, 2)],
    "flag": [_codes(1), _codes(0, missing=True), _codes(missing=True)],
    "age": [
        Within(low=low, high=high, missing=gap)
        for low, high, gap in [
            (30, 39, False),
            (-10, 90, True),
            (-10, -10, False),
            (19, 20, True),
            (90, 90, False),
            (29.5, 31.5, False),
        ]
    ]
    + [Within(missing=True)],
    "day": [Within(low=DAY, high=3 * DAY), Within(low=0, high=0), Within(low=5, high=10 * DAY)],
    "size": [Within(low=-2, high=4), Within(low=-1.5, high=0), Within(low=0.3, high=3.9), Within(low=1.5, high=2)],
    "fixed": [Within(low=2, high=2)],
}


@pytest.mark.parametrize("name", WITHINS)
def test_weights_are_the_share_of_each_cell_by_brute_force(name: str) -> None:
    position = CODEC.names.index(name)
    column = CODEC.schema.columns[name]
    cells = np.repeat(np.arange(CODEC.sizes[position]), 100_000 if column.kind in ("continuous", "datetime") else 4_000)
    bins = np.zeros((len(cells), len(CODEC.names)), dtype=np.int64)
    bins[:, position] = cells
    values = CODEC.unbin(bins, rng=np.random.default_rng(0))[:, position]
    for within in WITHINS[name]:
        if column.kind == "integer":  # exactly: every integer of the domain once
            whole = np.append(np.arange(column.low, column.high + 1), np.nan)
            rows = np.zeros((len(whole), len(CODEC.names)))
            rows[:, position] = whole
            cell = CODEC.bin(rows)[:, position]
            expected = np.bincount(cell, weights=within.allows(whole)) / np.bincount(cell)
            np.testing.assert_allclose(CODEC.cell_weights(name, within), expected, rtol=1e-12)
        else:
            share = np.bincount(cells, weights=within.allows(values)) / np.bincount(cells)
            np.testing.assert_allclose(CODEC.cell_weights(name, within), share, atol=0.01)


@pytest.mark.parametrize("name", WITHINS)
def test_values_are_drawn_evenly_inside_cell_and_limit(name: str) -> None:
    place = CODEC.free_names.index(name)
    position = CODEC.names.index(name)
    column = CODEC.schema.columns[name]
    for within in WITHINS[name]:
        allowed = np.flatnonzero(CODEC.cell_weights(name, within) > 0)
        codes = np.zeros((2_000 * len(allowed), len(CODEC.free)), dtype=np.int64)
        codes[:, place] = np.repeat(allowed, 2_000)
        drawn = CODEC.complete(codes, np.random.default_rng(0), {name: within})
        values = drawn[:, position]
        assert within.allows(values).all()
        np.testing.assert_array_equal(CODEC.bin_free(drawn), codes)
        if column.kind == "integer" and within.low is not None:
            whole = np.arange(np.ceil(within.low), np.floor(within.high) + 1)  # type: ignore[arg-type]
            assert set(values[~np.isnan(values)]) == set(whole)
        if column.kind == "continuous" and within == Within(low=0.3, high=3.9):
            assert values[codes[:, place] == 1].mean() == pytest.approx(0.9, abs=0.03)
            assert values[codes[:, place] == 2].mean() == pytest.approx(2.7, abs=0.06)


def test_a_cell_outside_the_limit_is_refused() -> None:
    codes = np.zeros((1, len(CODEC.free)), dtype=np.int64)
    with pytest.raises(InputError, match="wholly outside"):
        CODEC.complete(codes, np.random.default_rng(0), {"age": Within(low=80, high=90)})


def test_gaps_need_no_number_inside_the_limit() -> None:
    codes = np.zeros((3, len(CODEC.free)), dtype=np.int64)
    place = CODEC.free_names.index("age")
    codes[:, place] = CODEC.free_sizes[place] - 1
    values = CODEC.complete(codes, np.random.default_rng(0), {"age": Within(low=80, high=90, missing=True)})
    assert np.isnan(values[:, CODEC.names.index("age")]).all()
    assert dt.timedelta(days=1) == dt.timedelta(microseconds=DAY)
