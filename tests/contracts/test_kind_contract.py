"""What every kind of column promises the rest of the workbench, whatever is in it: found by the registry, none by name."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.schema import Codec, Column, Schema, Within
from workbench.schema.draft import rows_of, with_rows
from workbench.schema.kinds.kind import ColumnKind
from workbench.schema.kinds.registry import KINDS
from workbench.schema.schema import parse_schema

FEW = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
UNREADABLE = "☃ is no value"
LETTERS = st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="|")


@st.composite
def columns(draw: st.DrawFn, kind: ColumnKind) -> Column:
    """A column of a kind, with a random domain of whatever it declares."""
    fields: dict[str, Any] = {"kind": kind.name, "missing": draw(st.booleans()), **kind.example}
    if kind.level is None:
        return Column.model_validate({**fields, "role": "drop"})
    if kind.has_categories:
        names = st.text(LETTERS, min_size=1, max_size=5)
        fields["categories"] = draw(st.lists(names, min_size=1, max_size=6, unique=True))
    if kind.has_bounds:
        low, width = draw(st.integers(-1000, 1000)), draw(st.integers(0, 5000))
        ends = (low, low + width)
        has_moments = isinstance(kind.example.get("bounds", (0,))[0], dt.datetime)
        first = dt.datetime(2000, 1, 1)
        fields["bounds"] = [first + dt.timedelta(hours=end) for end in ends] if has_moments else ends
        fields["bins"] = draw(st.integers(1, 40))
    return Column.model_validate(fields)


def stored() -> list[ColumnKind]:
    return [kind for kind in KINDS if kind.level is not None]


def codec_of(column: Column) -> Codec:
    return Codec(Schema(population="p", identity_type="i", subject="row", columns={"size": column}))


def values_of(codec: Codec, seed: int, n: int = 60) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    return codec.unbin(np.resize(np.arange(codec.sizes[0]), (n, 1)), rng=rng)


def check_round_trip(column: Column, seed: int) -> None:
    """Cells, encoded values, typed values and texts of them say the same."""
    codec = codec_of(column)
    values = values_of(codec, seed)
    cells = codec.bin(values)
    assert cells.tolist() == np.resize(np.arange(codec.sizes[0]), (60, 1)).tolist(), "a value drawn in a cell is in it"
    frame = codec.decode(values)
    texts = pd.DataFrame({"size": ["" if pd.isna(cell) else f" {cell} " for cell in frame["size"]]}, dtype=object)
    for table in (frame, texts):
        encoded = codec.encode(table)
        assert not encoded.violations
        np.testing.assert_array_equal(encoded.values, values)
    if not column.is_coded:
        assert (column.low <= values[~np.isnan(values)]).all()
        assert (values[~np.isnan(values)] <= column.high).all()
    if column.is_whole:
        assert (np.floor(values) == values)[~np.isnan(values)].all()


def check_cells(column: Column, seed: int) -> None:
    """Cells have texts and weights, and a limit on numbers holds for what is drawn."""
    codec = codec_of(column)
    assert len(column.spec.cell_labels(column)) == column.cells >= 1
    assert len(column.labels) == (column.cells if column.is_coded else 0)
    if column.is_coded:
        allowed = Within(codes=frozenset({0}))
    else:
        allowed = Within(low=column.low, high=np.floor((column.low + column.high) / 2))
    assert allowed.high is None or column.low <= allowed.high
    weights = codec.cell_weights("size", allowed)
    assert len(weights) == codec.sizes[0]
    assert ((weights >= 0) & (weights <= 1)).all()
    within = np.flatnonzero(weights > 0)
    drawn = codec.complete(within[:, None], np.random.default_rng(seed), {"size": allowed})
    assert column.is_coded or allowed.allows(drawn[:, 0]).all()


def check_draft(column: Column) -> None:
    """The domain survives YAML, and the table in which a person edits it."""
    schema = codec_of(column).schema if column.encoded else None
    if schema is not None:
        again = parse_schema(schema.model_dump(mode="json", exclude_defaults=True), source="s")
        assert again.digest() == schema.digest()
        assert with_rows(schema, rows_of(schema)).digest() == schema.digest()


@pytest.mark.parametrize("kind", stored(), ids=lambda kind: kind.name)
def test_a_kind_keeps_its_contract(kind: ColumnKind) -> None:
    @FEW
    @given(columns(kind), st.integers(0, 2**32 - 1))
    def check(column: Column, seed: int) -> None:
        check_round_trip(column, seed)
        check_cells(column, seed)
        check_draft(column)

    check()


@pytest.mark.slow
@pytest.mark.parametrize("kind", stored(), ids=lambda kind: kind.name)
def test_a_kind_keeps_its_contract_over_many_domains(kind: ColumnKind) -> None:
    @MANY
    @given(columns(kind), st.integers(0, 2**32 - 1))
    def check(column: Column, seed: int) -> None:
        check_round_trip(column, seed)
        check_cells(column, seed)
        check_draft(column)

    check()


@pytest.mark.parametrize("kind", stored(), ids=lambda kind: kind.name)
def test_bad_input_is_refused_by_the_name_of_the_column_and_never_shown(kind: ColumnKind) -> None:
    @settings(FEW, max_examples=2)
    @given(columns(kind))
    def check(column: Column) -> None:
        strict = column.model_copy(update={"missing": False})
        found = codec_of(strict).encode(pd.DataFrame({"size": [UNREADABLE, None]})).violations
        assert {(one.column, row) for one in found for row in one.rows.tolist()} == {("size", 0), ("size", 1)}
        assert kind.unreadable in [one.rule for one in found]
        assert not any("☃" in repr(one) for one in found)

    check()
    wrong: dict[str, Any] = {"bounds": [3, 1]} if kind.has_bounds else {"bounds": [0, 1]}
    declared = {"kind": kind.name, **kind.example, **wrong}
    with pytest.raises(InputError, match=r"columns\.size"):
        parse_schema({"subject": "row", "columns": {"size": declared}}, source="s")


@pytest.mark.parametrize("kind", [k for k in KINDS if k.level is None], ids=lambda kind: kind.name)
def test_a_kind_that_is_never_stored_has_no_cells_and_no_role_of_a_feature(kind: ColumnKind) -> None:
    column = Column(kind=kind.name, role="drop")
    assert not column.encoded
    with pytest.raises(TypeError, match=kind.name):
        _ = column.cells
    for role in ("feature", "target", "sensitive"):
        with pytest.raises(ValueError, match=f"{kind.name} column can only have role"):
            Column(kind=kind.name, role=role)


def test_the_kinds_have_names_and_an_order_and_wait_for_no_heavy_library() -> None:
    assert KINDS.names() == (
        "categorical",
        "ordinal",
        "integer",
        "continuous",
        "boolean",
        "datetime",
        "text",
        "identifier",
    )
    code = (
        "import sys; from workbench.schema.kinds.registry import KINDS; assert len(KINDS.names()) == 8; "
        "print(*sorted({'pandas', 'scipy', 'torch', 'sklearn', 'pyarrow', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == []
