"""Schemas of all kinds keep their digests, texts and codes to the letter: they stand in manifests and certificates.

The digests were written with the code of before kinds had files. A failure here means that old manifests no longer fit.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.schema import Codec
from workbench.schema.infer import annotate, infer_schema
from workbench.schema.schema import parse_schema

DATES = ["1990-01-01T00:00:00", "2020-12-31T00:00:00"]
COLUMNS: dict[str, dict[str, Any]] = {
    "mood": {"kind": "categorical", "categories": ["gut", "mäßig", "other"], "other": "other", "missing": True},
    "level": {"kind": "ordinal", "categories": ["low", "mid", "high"], "role": "sensitive"},
    "age": {"kind": "integer", "bounds": [0, 120], "bins": 12, "out_of_domain": "clip"},
    "years": {"kind": "integer", "bounds": [-5, 20], "bins": [0, 10], "missing": True},
    "pay": {"kind": "continuous", "bounds": [0.5, 99.5], "bins": 7, "missing": True, "reviewed": False},
    "share": {"kind": "continuous", "bounds": [0, 1], "bins": [0.25, 0.5]},
    "passed": {"kind": "boolean", "role": "target"},
    "smokes": {"kind": "boolean", "missing": True, "out_of_domain": "drop"},
    "since": {"kind": "datetime", "bounds": DATES, "bins": 8, "missing": True, "out_of_domain": "clip"},
    "until": {"kind": "datetime", "bounds": DATES, "bins": ["2000-01-01T00:00:00"], "role": "quasi_identifier"},
    "note": {"kind": "text", "role": "drop"},
    "pupil": {"kind": "identifier", "role": "subject_id"},
    "dropped": {"kind": "categorical", "role": "drop"},
}
DIGESTS = {
    "mood": "bbd62d0f2d1cb6f60bee3808f26a47f3e9faf14c51ba67517de024012317af99",
    "level": "8cb94a494a14a321da771db8e6b9be60ef765604691a07b93a1af0641eda9787",
    "age": "b39f2f297232d7d1d09bf9741dbd7dd8f44739039614095b6b6c9335dce852f7",
    "years": "e33bcac08256de35cf41d261f5b131b880b37d8cf70f3656ca7c37eedd675f62",
    "pay": "793155f04cf24cf19aabdc456913a6dc2a72af08114d1767868d4aebb1fed556",
    "share": "eda7d0a21450da10ee90a3ef2a62d48875a4301b47353284f8a8bb7186dc2a6d",
    "passed": "23935b01a7ee811f47d163c408655b0e5604452d6092f855e2dcc4d73a3a675d",
    "smokes": "407cb56f02f689f197256a872934f55490868ad22be6708bf5642d413fbd1281",
    "since": "57ff49e35c1d9232b5ef3f23d0cf938c3de1cf802cdf3ee198b2963ab0f7cf6f",
    "until": "007098d8c47d4ddccaa92b09a795e3d147cda4a398ff0a98bceb8dda8b029bed",
    "note": "0ddccef3aa432ca89cab3303845555a50e434647b5fcb02ea447dbc1f4e8eb54",
    "pupil": "9e7b8988bc8f832128a764f615506cf82e7d759c3b513b330715053c5ebe0dee",
    "dropped": "1e78b04a71d03f28e5f10786769f328f736e8d3070422781e99d8f42d40d9da9",
}
ALL = (
    "504160f69ab0e942f49bab84c4ebbb51f25b3b70d3587c648bc5c2d0d492f021",
    "a8fc7967243716b0de0d4bb9aabf3c3ce5d893f8fe1c5d3e710caaef603b6108",
    "622bb2487460248e2e797b164780a73f0cd8fce42c56e5525042ba4165ca6f87",
)
GUESSED = "86f712f903f42d946d755832376a23303f6dc1c4c2a9b33dc10aae3a17d32865"


def _schema(*names: str) -> Any:
    columns = {name: COLUMNS[name] for name in (*names, "pupil")}
    if not any(name not in ("note", "dropped", "pupil") for name in names):
        columns["passed"] = COLUMNS["passed"]
    return parse_schema({"population": "p", "identity_type": "i", "subject": "pupil", "columns": columns}, source="s")


def _table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "mood": ["gut", "mäßig", "weird", None],
            "level": ["low", "high", "mid", "low"],
            "age": ["17", "300", "0", "44"],
            "years": [1.0, None, -5.0, 20.0],
            "pay": ["0.5", "", "99.5", "42.125"],
            "share": [0.0, 0.25, 1.0, 0.75],
            "passed": ["yes", "F", "1", "false"],
            "smokes": [True, False, None, True],
            "since": ["1990-01-01", "2020-12-31T00:00:00", "", "9999-01-01"],
            "until": pd.to_datetime(
                ["1990-01-01", "1999-12-31", "2000-01-01", "2020-01-01T01:02:03.000004"], format="ISO8601"
            ),
            "pupil": ["a", "b", "c", "d"],
        }
    )


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("name", COLUMNS)
def test_a_schema_of_each_kind_keeps_its_digest(name: str) -> None:
    assert _schema(*({name} - {"pupil"})).digest() == DIGESTS[name]


def test_a_schema_of_all_kinds_keeps_its_digest_its_text_and_its_codes() -> None:
    schema = _schema(*(name for name in COLUMNS if name != "pupil"))
    encoded = Codec(schema).encode(_table())
    codes = (
        np.ascontiguousarray(encoded.values).tobytes()
        + np.ascontiguousarray(Codec(schema).bin(encoded.values)).tobytes()
    )
    assert (schema.digest(), _sha(schema.to_yaml().encode()), _sha(codes)) == ALL


def test_a_draft_keeps_its_text() -> None:
    rows = 400
    table = pd.DataFrame(
        {
            "truth": ["true", "False"] * 200,
            "number": [str(i % 37 - 3) for i in range(rows)],
            "fraction": [i % 53 / 8 for i in range(rows)],
            "day": [f"20{i % 30:02d}-03-01" for i in range(rows)],
            "town": [["here", "there", "far"][i % 3] if i % 50 else f"rare {i}" for i in range(rows)],
            "code": [f"0{i % 5}" for i in range(rows)],
            "key": list(range(rows)),
            "remark": [f"a long remark about pupil {i}" for i in range(rows)],
            "gap": [None if i % 4 else 7 for i in range(rows)],
            "nothing": [None] * rows,
        }
    )
    assert _sha(annotate(infer_schema([table], target="town", subject=None)).encode()) == GUESSED
