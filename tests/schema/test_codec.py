"""The codec loses nothing inside the domain, and outside it names the rule and the rows but never the value."""

from __future__ import annotations

import datetime as dt
import time
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.schema import Codec, Column, Schema
from workbench.schema.encode import LINE_BREAK

FAST = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = ["alter", "größe", "名前", "mood 🙂", "a b", "x'\"y"]
LETTERS = st.characters(exclude_categories=["Cs", "Cc"])
CATEGORIES = st.text(LETTERS, min_size=1, max_size=6).map(str.strip).filter(bool)
EPOCH = dt.datetime(1950, 1, 1)


@st.composite
def columns(draw: st.DrawFn) -> Column:
    """A column of any stored kind with a random domain."""
    kind = draw(st.sampled_from(["categorical", "ordinal", "integer", "continuous", "boolean", "datetime"]))
    missing = draw(st.booleans())
    bins = draw(st.integers(1, 40))
    if kind in ("categorical", "ordinal"):
        return Column(
            kind=kind,
            categories=tuple(draw(st.lists(CATEGORIES, min_size=1, max_size=8, unique=True))),
            missing=missing,
        )
    if kind == "boolean":
        return Column(kind=kind, missing=missing)
    if kind == "datetime":
        low = draw(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)))
        span = draw(st.timedeltas(dt.timedelta(0), dt.timedelta(days=80 * 365)))
        return Column(kind=kind, bounds=(low, low + span), bins=bins, missing=missing)
    if kind == "integer":
        ends = sorted(draw(st.lists(st.integers(-(2**53) + 1, 2**53 - 1), min_size=2, max_size=2)))
        near = draw(st.integers(0, 100))
        bounds = draw(st.sampled_from([(ends[0], ends[1]), (0, near), (2**53 - 1 - near, 2**53 - 1)]))
        return Column(kind=kind, bounds=bounds, bins=bins, missing=missing)
    floats = st.floats(-1e300, 1e300, allow_nan=False)
    ends = sorted(draw(st.lists(floats, min_size=2, max_size=2)))
    bounds = draw(st.sampled_from([(ends[0], ends[1]), (0.0, 1.0), (1.0, float(np.nextafter(1.0, 2.0)))]))
    return Column(kind=kind, bounds=bounds, bins=bins, missing=missing)


def _cell(column: Column) -> st.SearchStrategy[Any]:
    """Any value of the column's domain, its ends included."""
    if column.kind in ("categorical", "ordinal"):
        inside: st.SearchStrategy[Any] = st.sampled_from(column.categories or ())
    elif column.kind == "boolean":
        inside = st.booleans()
    elif column.kind == "datetime":
        inside = st.datetimes(*column.bounds)  # type: ignore[misc, arg-type]
    elif column.kind == "integer":
        inside = st.integers(int(column.low), int(column.high))
    else:
        inside = st.floats(column.low, column.high)
    ends = [] if column.bounds is None else [column.bounds[0], column.bounds[1]]
    if column.kind == "integer":
        ends = [int(end) for end in ends]  # type: ignore[arg-type]
    return st.one_of(inside, st.sampled_from(ends)) if ends else inside


def _series(cells: list[Any], column: Column) -> pd.Series:
    """The cells in the type that a Parquet file would give them."""
    if column.kind == "integer":
        return pd.Series(cells, dtype="Int64" if column.missing else "int64")
    if column.kind == "boolean":
        return pd.Series(cells, dtype="boolean" if column.missing else "bool")
    if column.kind == "datetime":
        return pd.Series(np.array([np.datetime64(cell if cell else "NaT", "us") for cell in cells], "datetime64[us]"))
    if column.kind == "continuous":
        return pd.Series(cells, dtype=float)
    return pd.Series(cells, dtype=object)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Codec, pd.DataFrame]:
    """A random schema and a frame inside its domain."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    drawn = {name: draw(columns()) for name in names}
    n = draw(st.integers(0, 12))
    frame = {}
    for name, column in drawn.items():
        cell = st.one_of(st.none(), _cell(column)) if column.missing else _cell(column)
        frame[name] = _series(draw(st.lists(cell, min_size=n, max_size=n)), column)
    return Codec(Schema(population="p", identity_type="i", subject="row", columns=drawn)), pd.DataFrame(frame)


def _codec(**fields: Any) -> Codec:
    return Codec(Schema(population="p", identity_type="i", subject="row", columns={"x": Column(**fields)}))


def _encode(codec: Codec, cells: Any) -> tuple[list[float], list[bool], dict[str, list[int]]]:
    frame = pd.DataFrame({"x": cells if isinstance(cells, pd.Series) else pd.Series(cells, dtype=object)})
    values, dropped, violations, _ = codec.encode(frame)
    return values[:, 0].tolist(), dropped.tolist(), {v.rule: v.rows.tolist() for v in violations}


@FAST
@given(tables())
def test_decode_inverts_encode_inside_the_domain(table: tuple[Codec, pd.DataFrame]) -> None:
    codec, frame = table
    values, dropped, violations, _ = codec.encode(frame)
    assert violations == []
    assert not dropped.any()
    pd.testing.assert_frame_equal(codec.decode(values), frame, check_exact=True)


@FAST
@given(tables())
def test_text_encodes_like_typed_cells(table: tuple[Codec, pd.DataFrame]) -> None:
    codec, frame = table
    texts = pd.DataFrame({name: ["" if pd.isna(x) else f" {x} " for x in frame[name]] for name in frame}, dtype=object)
    values, dropped, violations, _ = codec.encode(texts)
    assert violations == []
    assert not dropped.any()
    np.testing.assert_array_equal(values, codec.encode(frame)[0])
    np.testing.assert_array_equal(values, codec.encode(texts.astype("string"))[0])
    np.testing.assert_array_equal(values, codec.encode(texts.astype("category"))[0])


@FAST
@given(tables(), st.randoms(use_true_random=False))
def test_a_row_encodes_alike_wherever_it_stands(table: tuple[Codec, pd.DataFrame], random: Any) -> None:
    codec, frame = table
    order = list(range(len(frame)))
    random.shuffle(order)
    np.testing.assert_array_equal(codec.encode(frame.iloc[order])[0], codec.encode(frame)[0][order])


@FAST
@given(st.lists(columns(), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_values_drawn_from_a_cell_lie_in_that_cell(drawn: list[Column], seed: int) -> None:
    stored = {f"c{i}": column for i, column in enumerate(drawn)}
    codec = Codec(Schema(population="p", identity_type="i", subject="row", columns=stored))
    rng = np.random.default_rng(seed)
    bins = np.column_stack([rng.permutation(np.resize(np.arange(size), 200)) for size in codec.sizes])
    values = codec.unbin(bins, rng=rng)
    np.testing.assert_array_equal(codec.bin(values), bins)
    frame = codec.decode(values)
    assert codec.encode(frame)[2] == []
    for name, column in stored.items():
        if column.kind == "integer":
            assert (frame[name].dropna() % 1 == 0).all()


@FAST
@given(columns())
def test_cut_points_rise_strictly_inside_the_bounds(column: Column) -> None:
    if column.kind not in ("integer", "continuous", "datetime"):
        return
    edges = [column.low, *column.cuts]
    assert all(a < b for a, b in pairwise(edges))
    assert edges[-1] <= column.high


def test_bins_given_as_a_number_are_of_equal_width() -> None:
    assert Column(kind="integer", bounds=(0, 9), bins=5).cuts == (2, 4, 6, 8)
    assert Column(kind="integer", bounds=(1, 3), bins=32).cuts == (2, 3)
    assert Column(kind="continuous", bounds=(0, 1), bins=4).cuts == (0.25, 0.5, 0.75)
    hour = Column(kind="datetime", bounds=(EPOCH, EPOCH + dt.timedelta(hours=1)), bins=2)
    assert hour.cuts == (1_800_000_001,)


def test_every_integer_of_a_cell_can_be_drawn() -> None:
    codec = _codec(kind="integer", bounds=(0, 9), bins=(3, 4))
    drawn = codec.unbin(np.repeat([[0], [1], [2]], 300, axis=0), rng=np.random.default_rng(0))[:, 0]
    assert [set(drawn[i : i + 300].tolist()) for i in (0, 300, 600)] == [{0, 1, 2}, {3}, {4, 5, 6, 7, 8, 9}]


def test_a_value_equal_to_a_cut_lies_right_of_it() -> None:
    codec = _codec(kind="continuous", bounds=(0, 2), bins=(1.0,), missing=True)
    assert codec.bin(np.array([[0.0], [np.nextafter(1, 0)], [1.0], [2.0], [np.nan]]))[:, 0].tolist() == [0, 0, 1, 1, 2]
    assert codec.sizes == (3,)


INTEGER = {"kind": "integer", "bounds": (0, 10)}
CONTINUOUS = {"kind": "continuous", "bounds": (0, 10)}
MOOD = {"kind": "categorical", "categories": ("gut", "mäßig", "🙂", "7")}
DAY = {"kind": "datetime", "bounds": (EPOCH, dt.datetime(2030, 1, 1))}
BROKEN: dict[str, tuple[dict[str, Any], Any, dict[str, list[int]]]] = {
    "not finite": (CONTINUOUS, [1.0, np.inf, "inf", "nan", -np.inf], {"value is not a finite number": [1, 2, 3, 4]}),
    "not finite, typed": (CONTINUOUS, pd.Series([np.inf, 3.0, -np.inf]), {"value is not a finite number": [0, 2]}),
    "out of bounds": (INTEGER, [-1, 0, 10, 11], {"value is outside the declared bounds": [0, 3]}),
    "out of bounds, typed": (INTEGER, pd.Series([10, 11, 2**62]), {"value is outside the declared bounds": [1, 2]}),
    "not an integer": (INTEGER, ["1", "1.5", "2.0"], {"value is not an integer": [1]}),
    "not an integer, typed": (INTEGER, pd.Series([1.5, 2.0]), {"value is not an integer": [0]}),
    "not a number": (
        INTEGER,
        ["one", "1", "0x1", "1,5", "1_0", "٣"],
        {"value is not a finite number": [0, 2, 3, 4, 5]},
    ),
    "booleans for numbers": (INTEGER, pd.Series([True, False]), {"value is not a finite number": [0, 1]}),
    "dates for numbers": (
        {"kind": "integer", "bounds": (0, 2**53 - 1)},
        pd.Series(pd.to_datetime(["1970-01-02"])),
        {"value is not a finite number": [0]},
    ),
    "unknown category": (
        MOOD,
        ["gut", "Gut", "🙂", "🙃", 7, 7.0],
        {"value is not among the declared categories": [1, 3]},
    ),
    "unknown category, typed": (MOOD, pd.Series([7, 8]), {"value is not among the declared categories": [1]}),
    "lists for categories": (MOOD, [["gut"], "gut"], {"value is not among the declared categories": [0]}),
    "not a boolean": ({"kind": "boolean"}, ["yes", "No", "maybe", 1, 0.0, 2], {"value is not true or false": [2, 5]}),
    "not a boolean, typed": ({"kind": "boolean"}, pd.Series([0, 1, 2]), {"value is not true or false": [2]}),
    "not a date": (
        DAY,
        ["1990-02-30", "now", "today", "1990-02-03", "1990-02-03T04:05:06+02:00", "3/2/1990"],
        {"value is not an ISO 8601 date or time": [0, 1, 2, 5]},
    ),
    "date out of bounds": (
        DAY,
        ["9999-12-31", "1949-12-31", "2030-01-01"],
        {"value is outside the declared bounds": [0, 1]},
    ),
    "date of year one abroad": (DAY, ["0001-01-01T00:00+14:00"], {"value is not an ISO 8601 date or time": [0]}),
    "missing": (INTEGER, ["1", None, "", " ", np.nan, pd.NA], {"missing values are not allowed": [1, 2, 3, 4, 5]}),
    "missing, typed": (CONTINUOUS, pd.Series([1.0, np.nan]), {"missing values are not allowed": [1]}),
    "missing date": (DAY, pd.Series(pd.to_datetime(["1990-01-01", None])), {"missing values are not allowed": [1]}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_reported_with_its_rows_and_no_value(name: str) -> None:
    fields, cells, expected = BROKEN[name]
    _, dropped, found = _encode(_codec(**fields), cells)
    assert found == expected
    assert not any(dropped)


@pytest.mark.parametrize("policy", ["reject", "drop", "clip"])
@pytest.mark.parametrize(
    "fields",
    [INTEGER, CONTINUOUS, DAY, MOOD, MOOD | {"other": "gut"}, {"kind": "boolean"}],
    ids=["integer", "continuous", "date", "category", "other", "boolean"],
)
def test_a_cell_of_several_lines_is_refused_whatever_the_policy(fields: dict[str, Any], policy: str) -> None:
    """Its rows are missing, which no policy allows."""
    if policy == "clip" and fields["kind"] not in ("integer", "continuous", "datetime"):
        return
    codec = _codec(**fields, out_of_domain=policy, missing=True)
    _, dropped, found = _encode(codec, [None, "1,2\n3,4", "1\r2"])
    assert found == {LINE_BREAK: [1, 2]}
    assert not any(dropped)


def test_a_declared_category_may_have_several_lines() -> None:
    values, _, found = _encode(_codec(kind="categorical", categories=("a", "b\nc")), ["a", "b\nc"])
    assert (values, found) == ([0, 1], {})


@pytest.mark.parametrize("name", BROKEN)
def test_policy_drop_leaves_out_the_same_rows_and_reports_none(name: str) -> None:
    fields, cells, expected = BROKEN[name]
    _, dropped, found = _encode(_codec(**fields, out_of_domain="drop"), cells)
    assert found == {}
    assert np.flatnonzero(dropped).tolist() == sorted({row for rows in expected.values() for row in rows})


def test_policy_clip_moves_numbers_and_dates_to_the_nearest_bound_and_drops_what_is_neither() -> None:
    values, dropped, found = _encode(_codec(**INTEGER, out_of_domain="clip"), ["-5", "99", "3", "three", "inf"])
    assert values[:3] == [0, 10, 3]
    assert (dropped, found) == ([False, False, False, True, True], {})
    codec = _codec(**DAY, out_of_domain="clip")
    values, dropped, _ = _encode(codec, ["9999-12-31", "0001-01-01", "1950-01-02"])
    assert values == [codec.schema.columns["x"].high, 0, 86_400_000_000]
    assert not any(dropped)


def test_an_undeclared_category_becomes_other_but_a_missing_one_does_not() -> None:
    codec = _codec(kind="categorical", categories=("a", "rest"), other="rest", missing=True)
    values, _, found = _encode(codec, ["a", "b", None, "rest"])
    np.testing.assert_array_equal(values, [0, 1, np.nan, 1])
    assert found == {}


def test_texts_that_mean_missing_are_declared_by_the_schema() -> None:
    column = Column(kind="integer", bounds=(0, 9), missing=True)
    schema = Schema(population="p", identity_type="i", subject="row", null_values=("NA", "-"), columns={"x": column})
    values, _, found = _encode(Codec(schema), ["NA", " - ", "3", ""])
    np.testing.assert_array_equal(values, [np.nan, np.nan, 3, np.nan])
    assert found == {"value is not a finite number": [3]}


def test_moments_far_from_the_bound_keep_their_microsecond() -> None:
    codec = _codec(**DAY)
    exact = np.random.default_rng(0).integers(0, 2**51, 5_000)
    moments = np.datetime64(EPOCH, "us") + exact.astype("timedelta64[us]")
    for unit in ("ns", "us"):
        assert _encode(codec, pd.Series(moments.astype(f"datetime64[{unit}]")))[0] == exact.tolist()
    assert _encode(codec, pd.Series(moments.astype(str), dtype=object))[0] == exact.tolist()


def test_times_with_a_zone_are_read_as_utc_wherever_the_machine_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    texts = ["1990-01-01T02:00:00+02:00", "1990-01-01T00:00:00Z", "1990-01-01"]
    typed = pd.Series(pd.to_datetime(["1990-01-01T01:00"])).dt.tz_localize("Europe/Berlin")
    codes = {*_encode(_codec(**DAY), texts)[0], *_encode(_codec(**DAY), typed)[0]}
    monkeypatch.undo()
    time.tzset()
    assert len(codes) == 1


def test_a_category_column_with_nulls_and_numbers_is_read_like_text() -> None:
    codec = _codec(**MOOD, missing=True)
    for cells in (
        pd.Series([7.0, np.nan]),
        pd.Series([7, None], dtype="category"),
        pd.Series([7, None], dtype="Int64"),
    ):
        np.testing.assert_array_equal(_encode(codec, cells)[0], [3, np.nan])


def test_equal_objects_of_different_text_stay_apart() -> None:
    codec = _codec(kind="categorical", categories=("True", "1"))
    assert _encode(codec, [True, 1])[0] == _encode(codec, [1, True])[0][::-1] == [0, 1]


def test_an_integer_just_beyond_the_largest_bound_is_not_rounded_into_it() -> None:
    codec = _codec(kind="integer", bounds=(0, 2**53 - 1))
    beyond = {"value is outside the declared bounds": [0]}
    for value in (2**53, 2**53 + 1):
        assert _encode(codec, pd.Series([value]))[2] == beyond
        assert _encode(codec, [str(value)])[2] == beyond


def test_a_number_written_as_text_is_rounded_correctly() -> None:
    numbers = np.random.default_rng(0).random(2_000) * 1e22
    codec = _codec(kind="continuous", bounds=(0, 1e22))
    assert _encode(codec, [repr(float(number)) for number in numbers])[0] == numbers.tolist()


@pytest.mark.parametrize("names", [["y"], ["x", "x"]])
def test_a_table_without_each_column_once_is_refused(names: list[str]) -> None:
    with pytest.raises(InputError, match=r"missing or repeated: \['x'\]"):
        _codec(**INTEGER).encode(pd.DataFrame([[1] * len(names)], columns=names))


def test_an_empty_table_encodes_to_an_empty_table() -> None:
    codec = _codec(**MOOD)
    values, dropped, violations, _ = codec.encode(pd.DataFrame({"x": pd.Series([], dtype=object)}))
    assert values.shape == (0, 1)
    assert (len(dropped), violations) == (0, [])
    assert codec.bin(values).shape == (0, 1)
    assert len(codec.decode(values)) == 0
