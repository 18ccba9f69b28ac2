"""A guessed schema encodes the table it was guessed from, names nobody's rare value and says that it is a guess."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.data.bundled import bundled_path
from workbench.errors import InputError
from workbench.schema import Codec, Column, Schema, read_schema
from workbench.schema.infer import MAX_CATEGORIES, MAX_DISTINCT, annotate, infer_schema

N = 400


def _infer(frame: pd.DataFrame, *, target: str | None = None, subject: str | None = None, k: int = 20) -> Schema:
    """The guess from the frame in four chunks, as a large file would come."""
    size = max(1, len(frame) // 4)
    chunks = (frame.iloc[start : start + size] for start in range(0, len(frame), size))
    return infer_schema(chunks, target=target, subject=subject, k=k)


def _column(cells: Any, **options: Any) -> Column:
    return _infer(pd.DataFrame({"x": cells, "pad": ["a", "b"] * (len(cells) // 2)}), **options).columns["x"]


def _numbers() -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng(0).integers(13, 88, N)


@pytest.mark.parametrize(
    ("name", "target", "subject"),
    [
        pytest.param(
            "adult", "income", None, marks=pytest.mark.slow
        ),  # of columns like German's, and 50 times the rows
        ("oulad", "final_result", "id_student"),
        ("german", "class", None),
    ],
)
@pytest.mark.parametrize("as_text", [False, True])
def test_the_guess_encodes_its_own_table(name: str, target: str, subject: str | None, as_text: bool) -> None:
    frame = pd.read_parquet(bundled_path(f"{name}.parquet"))
    frame = frame.astype(str) if as_text else frame
    schema = _infer(frame, target=target, subject=subject)
    _, dropped, violations, _ = Codec(schema).encode(frame)
    assert violations == []
    assert not dropped.any()
    assert list(schema.columns) == list(frame.columns)
    assert schema.target == target
    assert schema.unreviewed == tuple(schema.encoded)


def test_text_and_typed_cells_lead_to_the_same_guess() -> None:
    frame = pd.DataFrame(
        {"n": _numbers(), "x": _numbers() / 8, "c": ["a", "b"] * (N // 2), "b": [True, False] * (N // 2)}
    )
    assert _infer(frame) == _infer(frame.astype(str))


KINDS: dict[str, tuple[Any, str, str]] = {
    "boolean": ([True, False] * 200, "boolean", "feature"),
    "boolean text": (["true", "FALSE"] * 200, "boolean", "feature"),
    "yes and no keep their spelling": (["yes", "no"] * 200, "categorical", "feature"),
    "integer": (_numbers(), "integer", "feature"),
    "integer with gaps": ([1.0, None, 3.0, 2.0] * 100, "integer", "feature"),
    "continuous": (_numbers() / 7, "continuous", "feature"),
    "continuous, all different": (np.random.default_rng(0).random(N), "continuous", "feature"),
    "continuous with infinity": ([0.5, 1.5, float("inf"), 2.5] * 100, "continuous", "feature"),
    "code with leading zeros": ([f"0{1000 + i % 5}" for i in range(N)], "categorical", "feature"),
    "date": ([f"2020-01-{1 + i % 28:02d}" for i in range(N)], "datetime", "feature"),
    "date, typed": (pd.Timestamp("2020-01-01") + pd.to_timedelta(np.arange(N), unit="h"), "datetime", "feature"),
    "emoji": (["🙂", "🙃"] * 200, "categorical", "feature"),
    "serial number": (list(range(N)), "identifier", "drop"),
    "serial text": ([f"id-{i}" for i in range(N)], "identifier", "drop"),
    "prose": ([f"a long remark about pupil {i}" for i in range(N)], "text", "drop"),
    "rare values only": ([f"v{i // 2}" for i in range(N)], "text", "drop"),
    "all missing": ([None] * N, "text", "drop"),
    "all missing text": ([""] * N, "text", "drop"),
    "mixed": (["1", "x"] * 200, "categorical", "feature"),
    "beyond exact integers": ([2**60, -(2**60)] * 200, "continuous", "feature"),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_kind_of_a_column_is_guessed(name: str) -> None:
    cells, kind, role = KINDS[name]
    column = _column(cells)
    assert (column.kind, column.role, column.reviewed) == (kind, role, False)


def test_gaps_are_seen_in_any_chunk() -> None:
    assert not _column([1, 2] * 200).missing
    assert _column([1, 2] * 199 + [None, 2]).missing
    assert _column([None, "a"] + ["a", "b"] * 199).missing


def test_a_category_of_too_few_subjects_is_not_named() -> None:
    column = _column(["a"] * 200 + ["b"] * 180 + ["rare"] * 19 + ["rarest"])
    assert (column.categories, column.other) == (("a", "b", "other"), "other")
    assert _column(["a"] * 380 + ["enough"] * 20).categories == ("a", "enough")


def test_one_subject_with_many_rows_counts_once() -> None:
    pupils = [f"p{i}" for i in range(380)] + ["loud"] * 20
    frame = pd.DataFrame({"pupil": pupils, "x": ["a"] * 380 + ["mine"] * 20, "n": [5] * 380 + [99_999] * 20})
    schema = _infer(frame, subject="pupil")
    assert schema.columns["x"].categories == ("a", "other")
    assert schema.columns["n"].high < 100
    assert schema.max_rows_per_subject == 20
    assert _infer(frame.drop(columns="pupil")).columns["x"].categories == ("a", "mine")


@pytest.mark.parametrize("size", [7, 1000])
def test_rows_of_a_subject_are_counted_over_all_chunks(size: int) -> None:
    rng = np.random.default_rng(size)
    who = rng.permutation([*rng.integers(0, 90, 599), *[90] * 101])
    frame = pd.DataFrame({"who": who.astype(str), "x": ["a", "b"] * 350})
    chunks = (frame.iloc[start : start + size] for start in range(0, len(frame), size))
    schema = infer_schema(chunks, target=None, subject="who")
    assert schema.max_rows_per_subject == 200, "the next of 1, 2, 5, ... that is no less than 101"


def test_other_takes_another_name_where_it_is_a_value() -> None:
    column = _column(["other"] * 390 + ["rare"] * 10)
    assert (column.categories, column.other) == (("other", "other (rare)"), "other (rare)")


@pytest.mark.parametrize(
    ("low", "high", "bounds"),
    [(17, 90, (10, 90)), (1, 4, (1, 4)), (1234, 987_654, (0, 1_000_000)), (-37, -5, (-40, -5))],
)
def test_integer_bounds_are_rounded_outward(low: int, high: int, bounds: tuple[int, int]) -> None:
    column = _column([low, high] * 200)
    assert column.bounds == bounds
    assert column.out_of_domain == "clip"


def test_continuous_bounds_are_rounded_outward_to_short_decimals() -> None:
    assert _column([0.123, 0.987] * 200).bounds == (0.1, 1.0)
    assert _column([0.25] * 400).bounds == (0.25, 0.25)
    low, high = _column([3.14159e-8, 2.71828e-7] * 200).bounds or (0, 0)
    assert (low, high) == (0.0, 3e-7)  # the step is 5e-8, the first of 1-2-5 above a tenth of the span


def test_dates_are_bounded_by_whole_years() -> None:
    column = _column(["1987-05-06", "2003-04-01T12:30:00+02:00"] * 200)
    assert [bound.isoformat() for bound in column.bounds or ()] == ["1987-01-01T00:00:00", "2004-01-01T00:00:00"]  # type: ignore[union-attr]
    assert _column(["0001-01-01", "9999-12-31"] * 200).kind == "datetime"


def test_an_extreme_of_too_few_subjects_sets_no_bound() -> None:
    values = [50] * 362 + [1_000_003] * 19 + [-7_000_001] * 19
    column = _column(values)
    assert column.bounds is not None
    assert -1000 < column.low <= 50 <= column.high < 1000


def test_the_domain_holds_no_exact_extreme_and_no_rare_text() -> None:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"n": rng.integers(10_000, 99_999, N), "c": ["a", "b"] * 199 + ["canary-1", "canary-2"]})
    text = annotate(_infer(frame))
    assert "canary" not in text
    assert str(frame["n"].min()) not in text
    assert str(frame["n"].max()) not in text


def test_a_column_of_ten_thousand_categories_is_cut_to_the_common_ones() -> None:
    common = np.repeat([f"common {i:04d}" for i in range(1_200)], 3)
    rare = [f"rare {i}" for i in range(8_800)]
    cells = [*common, *rare]
    column = infer_schema([pd.DataFrame({"x": cells})], target=None, subject=None, k=3).columns["x"]
    assert column.categories is not None
    assert len(column.categories) == MAX_CATEGORIES + 1
    assert column.other == "other"
    assert not any(category.startswith("rare") for category in column.categories)


def test_values_are_not_counted_without_end() -> None:
    def chunks() -> Iterator[pd.DataFrame]:
        for start in range(0, 3 * MAX_DISTINCT, MAX_DISTINCT):
            names = ["common"] * 100 + [f"v{i}" for i in range(start + 100, start + MAX_DISTINCT)]
            yield pd.DataFrame({"x": names, "y": ["a", "b"] * (MAX_DISTINCT // 2)})

    schema = infer_schema(chunks(), target=None, subject=None)
    assert schema.columns["x"].role == "drop"
    assert schema.columns["y"].categories == ("a", "b")


def test_a_target_of_few_values_is_a_class_and_of_many_a_number() -> None:
    numbers = pd.DataFrame({"grade": [1, 2, 3, 4] * 100, "salary": _numbers()})
    assert _infer(numbers, target="grade").columns["grade"].categories == ("1", "2", "3", "4")
    assert _infer(numbers, target="salary").columns["salary"].kind == "integer"
    assert _column([True, False] * 200, target="x").categories == ("False", "True")


def test_a_target_with_gaps_leaves_out_these_rows() -> None:
    frame = pd.DataFrame({"x": ["a", "b"] * 199 + [None, "a"], "n": _numbers()})
    schema = _infer(frame, target="x")
    _, dropped, violations, _ = Codec(schema).encode(frame)
    assert violations == []
    assert np.flatnonzero(dropped).tolist() == [398]


def test_unicode_names_work() -> None:
    schema = _infer(pd.DataFrame({"größe 📏": _numbers(), "名前": ["ä", "日"] * 200}), target="名前")
    assert schema.columns["名前"].categories == ("ä", "日")
    assert (schema.population, schema.identity_type) == ("", ""), "whose people they are is not in a table"


def test_an_annotated_guess_can_be_read_and_says_what_it_is(tmp_path: Path) -> None:
    schema = _infer(pd.DataFrame({"id": range(N), "empty\n🙂": [None] * N, "n": _numbers()}))
    text = annotate(schema)
    path = tmp_path / "guess.yaml"
    path.write_text(text, encoding="utf-8")
    assert read_schema(path) == schema
    assert text.startswith("# THIS DRAFT READ THE DATA.")
    assert "leaks" in text
    assert "WARNING: column 'id' is left out" in text
    assert r"WARNING: column 'empty\n🙂' is left out" in text
    assert text.count("reviewed: false\n") == 3


SECRET = "secret-cell"
REFUSED: dict[str, tuple[pd.DataFrame, dict[str, Any], str]] = {
    "no rows": (pd.DataFrame({"x": []}), {}, "0 rows"),
    "one row": (pd.DataFrame({"x": [SECRET]}), {}, "1 rows"),
    "unknown target": (pd.DataFrame({"x": [SECRET] * 9}), {"target": "y"}, r"target column 'y'.*\['x'\]"),
    "unknown subject": (pd.DataFrame({"x": [SECRET] * 9}), {"subject": "y"}, r"subject column 'y'.*\['x'\]"),
    "subject is the target": (pd.DataFrame({"x": [SECRET] * 9}), {"subject": "x", "target": "x"}, "both"),
    "repeated column": (pd.DataFrame([[SECRET, 1]] * 9, columns=["x", "x"]), {}, r"one name: \['x'\]"),
    "reserved column": (pd.DataFrame({"__x": [1, 2] * 9}), {}, "reserved"),
    "empty target": (pd.DataFrame({"x": [None] * 9, "n": [1] * 9}), {"target": "x"}, "'x' is empty"),
    "target of prose": (pd.DataFrame({"x": [f"{SECRET}{i}" for i in range(30)]}), {"target": "x"}, "different texts"),
    "nothing to keep": (pd.DataFrame({"x": [f"{SECRET}{i}" for i in range(30)]}), {}, "no column is stored"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_no_schema_can_be_guessed_for_is_refused_without_a_cell(name: str) -> None:
    frame, options, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as caught:
        _infer(frame, **options)
    assert SECRET not in str(caught.value) + caught.value.hint


def test_no_chunk_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="0 rows"):
        infer_schema([], target=None, subject=None)
