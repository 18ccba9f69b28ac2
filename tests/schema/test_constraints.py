"""Constraints hold in what is read and in what is made, and those that contradict each other are refused."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.config import CONFIGS
from workbench.errors import InputError
from workbench.schema import Codec, Schema, read_schema
from workbench.schema.schema import parse_schema

LEVELS = {"low": 1, "mid": 2, "high": 3}
COLUMNS: dict[str, Any] = {
    "level": {"kind": "ordinal", "categories": ["low", "mid", "high"], "missing": True},
    "grade": {"kind": "integer", "bounds": [1, 5], "bins": 3, "missing": True},
    "flag": {"kind": "boolean"},
    "age": {"kind": "integer", "bounds": [0, 9], "bins": [2, 5]},  # cells 0-1, 2-4, 5-9
    "size": {"kind": "continuous", "bounds": [0, 4], "bins": 4},
    "goal": {"kind": "boolean", "role": "target"},
}
GRADE = {"determined": {"column": "grade", "by": "level", "values": LEVELS}}


def _document(*constraints: Any, **changes: Any) -> dict[str, Any]:
    columns = {name: column | changes.get(name, {}) for name, column in COLUMNS.items()}
    document = {"population": "p", "identity_type": "i", "subject": "row", "columns": columns}
    return document | ({"constraints": list(constraints)} if constraints else {})


def _schema(*constraints: Any, **changes: Any) -> Schema:
    return parse_schema(_document(*constraints, **changes), source="s")


def _frame(**cells: Any) -> pd.DataFrame:
    base: dict[str, Any] = {"level": "low", "grade": 1, "flag": True, "age": 3, "size": 1.5, "goal": False}
    rows = max(len(column) for column in cells.values())
    return pd.DataFrame({name: cells.get(name, [value] * rows) for name, value in base.items()}, dtype=object)


REFUSED: dict[str, tuple[list[Any], str]] = {
    "neither kind": ([{}], "either determined or never"),
    "both kinds": ([GRADE | {"never": {"flag": [True], "level": ["low"]}}], "either determined or never"),
    "unknown column": ([{"never": {"flag": [True], "height": ["low"]}}], r"not stored: \['height'\]"),
    "unknown source": ([{"determined": GRADE["determined"] | {"by": "nothing"}}], r"not stored: \['nothing'\]"),
    "determined twice": ([GRADE, GRADE], r"determined twice: \['grade'\]"),
    "by itself": (
        [{"determined": {"column": "level", "by": "level", "values": {k: k for k in LEVELS}}}],
        "itself determ",
    ),
    "in a circle": (
        [
            {"determined": {"column": "level", "by": "flag", "values": {True: "low", False: "mid"}}},
            {"determined": {"column": "flag", "by": "level", "values": dict.fromkeys(LEVELS, True)}},
        ],
        "itself determined",
    ),
    "by a number": ([{"determined": {"column": "flag", "by": "age", "values": {"1": True}}}], "'age' is integer"),
    "the target": ([{"determined": {"column": "goal", "by": "flag", "values": {True: True, False: False}}}], "target"),
    "not total": ([{"determined": GRADE["determined"] | {"values": {"low": 1, "mid": 2}}}], "each of the 3 categories"),
    "of a foreign category": (
        [{"determined": GRADE["determined"] | {"values": {"low": 1, "mid": 2, "top": 3}}}],
        r"none of its categories: \['top'\]",
    ),
    "of a category twice": (
        [{"determined": {"column": "grade", "by": "flag", "values": {"true": 1, "yes": 1, "false": 2}}}],
        "each of the 2 categories",
    ),
    "a value outside": ([{"determined": GRADE["determined"] | {"values": LEVELS | {"high": 6}}}], r"domain: \['6'\]"),
    "never of one column": ([{"never": {"flag": [True]}}], "single column"),
    "never of nothing": ([{"never": {}}], "single column"),
    "never of no value": ([{"never": {"flag": [], "level": ["low"]}}], "'flag' outside its domain, or none"),
    "never of a foreign value": ([{"never": {"flag": [True], "level": ["top"]}}], r"domain, or none: \['top'\]"),
    "never beyond the bounds": ([{"never": {"flag": [True], "age": [3, 10]}}], r"domain, or none: \['10'\]"),
    "never reversed": ([{"never": {"flag": [True], "age": [5, 3]}}], r"\[low, high\] for 'age'"),
    "never of three ends": ([{"never": {"flag": [True], "age": [3, 4, 5]}}], r"\[low, high\] for 'age'"),
    "never of a whole domain": ([{"never": {"flag": [True, False], "age": [0, 1]}}], "whole domain of 'flag'"),
    "never of a whole range": ([{"never": {"flag": [True], "age": [0, 9]}}], "whole domain of 'age'"),
    "never of a column and its source": ([GRADE, {"never": {"grade": [1, 2], "level": ["mid"]}}], "single column"),
    "never of what can't be": ([GRADE, {"never": {"grade": [1, 1], "level": ["mid"]}}], "no row can have"),
    "all rows": (
        [{"never": {"flag": [flag], "goal": [goal]}} for flag in (True, False) for goal in (True, False)],
        "forbid every row",
    ),
    "an extra key": ([GRADE | {"always": {}}], "always"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_contradiction_is_refused_when_the_schema_is_read(name: str) -> None:
    constraints, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        _schema(*constraints)


def test_a_gap_needs_a_gap_to_go_to() -> None:
    with pytest.raises(InputError, match="declare that missing: true"):
        _schema(GRADE, grade={"missing": False})


def test_every_value_but_a_gap_may_be_forbidden() -> None:
    schema = _schema({"never": {"level": ["low", "mid", "high"], "flag": [False]}})
    assert [names for names, _ in Codec(schema).forbidden()] == [("level", "flag")]


def test_only_constraints_that_are_there_enter_the_digest() -> None:
    bare = _schema()
    assert "constraints" not in bare.model_dump()
    assert "constraints" not in bare.model_dump_json()
    assert (
        bare.digest() == "e5afa351362259fa0e645c81c9ecca8dc04d10aa4179dd4a7cae9dd0b862882e"
    )  # as before there were constraints
    assert _schema(GRADE).digest() not in (bare.digest(), _schema({"never": {"flag": [True], "age": [0, 1]}}).digest())


def test_a_schema_with_constraints_survives_yaml_and_json(tmp_path: Any) -> None:
    schema = _schema(GRADE, {"never": {"flag": [True], "age": [0, 1], "size": [0.5, 2]}})
    (tmp_path / "s.yaml").write_text(schema.to_yaml())
    assert read_schema(tmp_path / "s.yaml") == schema
    assert Schema.model_validate_json(schema.model_dump_json()) == schema


def test_a_row_whose_determined_value_differs_is_told_by_rule_and_place() -> None:
    codec = Codec(_schema(GRADE))
    frame = _frame(level=["low", "mid", None, None, "high", "low"], grade=[1, 3, None, 2, None, 1])
    _, dropped, violations, _ = codec.encode(frame)
    assert [(v.column, v.rule, v.rows.tolist()) for v in violations] == [
        ("grade", "value is not the one that its determining column gives", [1, 3, 4])
    ]
    assert not dropped.any()


def test_the_policy_of_the_determined_column_leaves_such_rows_out() -> None:
    for policy in ("drop", "clip"):
        codec = Codec(_schema(GRADE, grade={"out_of_domain": policy}))
        _, dropped, violations, _ = codec.encode(_frame(level=["low", "mid", "high"], grade=[1, 3, 3]))
        assert violations == []
        assert dropped.tolist() == [False, True, False]


def test_a_forbidden_row_is_told_unless_all_its_columns_drop() -> None:
    never = {"never": {"flag": [True], "age": [0, 3], "level": ["low", "mid"]}}
    frame = _frame(flag=[True, True, False, True, True], age=[0, 3, 0, 4, 2], level=["low", "mid", "low", "low", None])
    _, dropped, violations, _ = Codec(_schema(never)).encode(frame)
    assert [(v.column, v.rule, v.rows.tolist()) for v in violations] == [
        ("flag, age, level", "the values never occur together", [0, 1])
    ]
    drop = {name: {"out_of_domain": "drop"} for name in ("flag", "age", "level")}
    _, dropped, violations, _ = Codec(_schema(never, **drop)).encode(frame)
    assert violations == []
    assert dropped.tolist() == [True, True, False, False, False]


def test_a_row_that_breaks_the_domain_is_told_once() -> None:
    codec = Codec(_schema(GRADE))
    _, _, violations, _ = codec.encode(_frame(level=["low", "top", "mid"], grade=[9, 1, 2]))
    assert {(v.column, v.rule) for v in violations} == {
        ("grade", "value is outside the declared bounds"),
        ("level", "value is not among the declared categories"),
    }


def _values_of(codec: Codec) -> np.ndarray[Any, Any]:
    """One row in each combination of cells of the free columns."""
    cells = np.array(list(itertools.product(*map(range, codec.free_sizes))), dtype=np.int64)
    return codec.complete(cells, np.random.default_rng(0))


def test_free_columns_and_their_cells_are_all_that_must_be_drawn() -> None:
    codec = Codec(_schema(GRADE))
    assert codec.free_names == ("level", "flag", "age", "size", "goal")
    assert codec.free == (0, 2, 3, 4, 5)
    assert codec.free_sizes == (4, 2, 3, 4, 2)
    values = _values_of(codec)
    frame = codec.decode(values)
    np.testing.assert_array_equal(codec.encode(frame).values, values)
    assert codec.encode(frame).violations == []
    cells = codec.bin_free(values)
    assert cells.tolist() == [list(row) for row in itertools.product(*map(range, codec.free_sizes))]
    said = frame["level"].map(LEVELS)
    assert (frame["grade"].isna() == said.isna()).all()
    assert (frame["grade"].dropna() == said.dropna()).all()


def test_a_schema_without_constraints_has_every_column_free() -> None:
    codec = Codec(_schema())
    assert (codec.free_names, codec.free_sizes) == (codec.names, codec.sizes)
    assert codec.forbidden() == []


@pytest.mark.parametrize(
    "never",
    [
        {"flag": [True], "level": ["low", "high"]},
        {"level": ["low"], "age": [0, 4], "goal": [False]},
        {"size": [1, 3], "age": [5, 9]},
        {"grade": [2, 5], "flag": [False]},
        {"grade": [1, 2], "level": ["mid", "high"], "age": [0, 1]},
    ],
)
def test_forbidden_cells_are_those_that_hold_no_possible_row(never: dict[str, Any]) -> None:
    """Brute force: every cell of the table, with every integer in it and the ends and the middle of every interval."""
    codec = Codec(_schema(GRADE, {"never": never}))
    ((names, mask),) = codec.forbidden()
    possible = np.zeros(codec.free_sizes, dtype=bool)
    levels = [np.nan, 0, 1, 2]
    sizes = [0, 0.5, 1, 1.5, 2, 2.5, 3, np.nextafter(3, 4), 3.5, 4]
    every = itertools.product(levels, [np.nan], [0, 1], range(10), sizes, [0, 1])
    rows = codec.determine(np.array(list(every)))
    broken = [violation.rows for violation in codec.encode(codec.decode(rows)).violations]
    sound = np.delete(rows, np.concatenate([[], *broken]).astype(int), axis=0)
    possible[tuple(codec.bin_free(sound).T)] = True
    others = tuple(i for i, name in enumerate(codec.free_names) if name not in names)
    order = [n for n in codec.free_names if n in names]
    found = np.moveaxis(mask, range(len(names)), [order.index(name) for name in names])
    np.testing.assert_array_equal(found, ~possible.any(axis=others))
    assert found.any()


def test_of_a_number_only_bins_wholly_inside_are_forbidden() -> None:
    codec = Codec(_schema({"never": {"age": [1, 4], "flag": [True]}}))
    ((names, mask),) = codec.forbidden()
    assert names == ("age", "flag")
    assert mask.tolist() == [[False, False], [False, True], [False, False]]
    assert Codec(_schema({"never": {"age": [1, 1], "flag": [True]}})).forbidden() == []


def test_adult_determines_the_number_of_years_by_the_education() -> None:
    codec = Codec(read_schema(CONFIGS / "datasets" / "adult.yaml"))
    assert set(codec.names) - set(codec.free_names) == {"education-num"}
