"""Bucket files: narrow types that give every bit back, a seal without which a digest says nothing, as many as rows ask for."""

import numpy as np
import pyarrow as pa
import pytest

from workbench.data.bucket_file import (
    decode_bucket,
    encode_bucket,
    matrix_of,
    records_table,
    row_bytes,
    stored_type,
    token_array,
)
from workbench.data.store import bits_for
from workbench.schema import Schema

SCHEMA = Schema.model_validate(
    {
        "population": "p",
        "identity_type": "i",
        "subject": "who",
        "holdout": {"share": 0.5},
        "columns": {
            "who": {"kind": "identifier", "role": "subject_id"},
            "few": {"kind": "categorical", "categories": ["a", "b", "c"], "missing": True},
            "many": {"kind": "ordinal", "categories": [str(i) for i in range(300)]},
            "sign": {"kind": "integer", "bounds": [-5, 100]},
            "large": {"kind": "integer", "bounds": [0, 2**40]},
            "real": {"kind": "continuous", "bounds": [-1, 1]},
            "when": {"kind": "datetime", "bounds": ["2026-01-01", "2026-01-02"]},
        },
    }
)
VALUES = np.array([[0, 299, -5, 2**40, -0.0, 0], [np.nan, 0, 100, 0, np.nan, 86_399_999_999], [2, 1, 0, 7, 0.1, 5]])


def table(values: np.ndarray) -> pa.Table:
    n = len(values)
    points = np.arange(n, dtype=np.uint64)
    return records_table(token_array([bytes([i]) * 16 for i in range(n)]), points, points, values, list(SCHEMA.encoded))


def stored(values: np.ndarray) -> pa.Table:
    return decode_bucket(encode_bucket(table(values), SCHEMA, b"k"))


def test_columns_have_the_narrowest_types_of_their_domains() -> None:
    kinds = [str(stored(VALUES).schema.field(name).type) for name in SCHEMA.encoded]
    assert kinds == ["uint8", "uint16", "int8", "int64", "double", "int64"]
    assert kinds == [str(stored_type(column)) for column in SCHEMA.encoded.values()]
    assert row_bytes(SCHEMA) == 16 + 16 + 1 + 2 + 1 + 8 + 8 + 8


@pytest.mark.parametrize("odd", [-0.0, 0.5, 300.0, -7.0, np.inf, -np.nan])
def test_every_bit_comes_back_whatever_the_number(odd: float) -> None:
    for column in range(VALUES.shape[1]):
        values = VALUES.copy()
        values[1, column] = odd
        assert matrix_of([stored(values)], list(SCHEMA.encoded)).tobytes() == values.tobytes()


def test_equal_records_give_equal_files_and_another_key_gives_others() -> None:
    one = encode_bucket(table(VALUES), SCHEMA, b"k")
    assert encode_bucket(decode_bucket(one), SCHEMA, b"k") == one, "written again, from whatever it was read of"
    assert encode_bucket(table(VALUES), SCHEMA, b"another") != one
    assert encode_bucket(table(VALUES[:2]), SCHEMA, b"k") != one


@pytest.mark.parametrize(("rows", "bits"), [(1, 6), (1_000_000, 6), (10_000_000, 10), (100_000_000, 13), (10**12, 16)])
def test_a_bucket_stays_near_a_megabyte(rows: int, bits: int) -> None:
    assert bits_for(rows, SCHEMA) == bits
    assert bits in (6, 16) or rows * row_bytes(SCHEMA) / 2**bits <= 2**20
