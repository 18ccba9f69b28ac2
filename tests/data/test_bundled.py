"""The bundled tables and their hand-written schemas fit each other."""

from __future__ import annotations

import pandas as pd
import pytest

from workbench.config import CONFIGS
from workbench.data.bundled import BUNDLED, bundled_path
from workbench.errors import NotFoundError
from workbench.schema import Codec, Schema, read_schema

TABLES = {"adult": "adult", "adult_test": "adult", "oulad": "oulad", "german": "german"}
ROWS = {"adult": 32_561, "adult_test": 16_281, "oulad": 21_562, "german": 1_000}


def _schema(name: str) -> Schema:
    return read_schema(CONFIGS / "datasets" / f"{name}.yaml")


@pytest.mark.parametrize("table", TABLES)
def test_a_bundled_table_encodes_without_violations_and_comes_back_unchanged(table: str) -> None:
    frame = pd.read_parquet(bundled_path(f"{table}.parquet"))
    schema = _schema(TABLES[table])
    codec = Codec(schema)
    values, dropped, violations, _ = codec.encode(frame)
    assert len(frame) == ROWS[table]
    assert list(frame.columns) == list(schema.columns)
    assert violations == []
    assert not dropped.any()
    pd.testing.assert_frame_equal(codec.decode(values), frame[list(codec.names)])


@pytest.mark.parametrize("table", TABLES)
def test_a_bundled_table_read_as_text_encodes_alike(table: str) -> None:
    frame = pd.read_parquet(bundled_path(f"{table}.parquet")).head(500)
    codec = Codec(_schema(TABLES[table]))
    assert (codec.encode(frame)[0] == codec.encode(frame.astype(str))[0]).all()


@pytest.mark.parametrize("name", sorted(BUNDLED))
def test_a_bundled_schema_was_written_by_hand_and_survives_yaml(name: str) -> None:
    schema = _schema(name)
    assert schema.unreviewed == ()
    assert schema.target is not None
    again = CONFIGS / "datasets" / f"{name}.yaml"
    assert read_schema(again).digest() == schema.digest()


def test_row_limits_and_keys_hold_in_the_open_university_table() -> None:
    schema = _schema("oulad")
    frame = pd.read_parquet(bundled_path("oulad.parquet"))
    assert frame["id_student"].dtype == "int64"
    assert frame.groupby("id_student").size().max() == schema.max_rows_per_subject
    assert not frame.duplicated([schema.subject, *schema.row_key]).any()


def test_the_labels_of_the_adult_test_file_lost_their_dot() -> None:
    assert set(pd.read_parquet(bundled_path("adult_test.parquet"))["income"]) == {"<=50K", ">50K"}


@pytest.mark.parametrize(
    "name", ["adult", "iris.parquet", "../bundled/adult.parquet", "README.md", "", "adult.parquet/"]
)
def test_other_names_are_not_found_and_not_repeated(name: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        bundled_path(name)
    assert "../" not in str(caught.value)
