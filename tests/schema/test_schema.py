"""Every invalid schema is refused with the place of its fault; every valid one survives a round trip through YAML."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from workbench.errors import InputError
from workbench.schema import Schema, read_schema
from workbench.schema.schema import parse_schema

VALID: dict[str, Any] = {
    "population": "pupils",
    "identity_type": "pupil-number",
    "subject": "pupil",
    "max_rows_per_subject": 3,
    "row_key": ["day"],
    "holdout": {"share": 0.25},
    "columns": {
        "pupil": {"kind": "identifier", "role": "subject_id"},
        "day": {"kind": "datetime", "bounds": ["2020-01-01T00:00:00", "2024-12-31T00:00:00"]},
        "age": {"kind": "integer", "bounds": [4, 20], "role": "quasi_identifier", "missing": True},
        "mood 🙂": {"kind": "ordinal", "categories": ["schlecht", "mäßig", "gut"]},
        "height": {"kind": "continuous", "bounds": [0.5, 2.5], "bins": [1.0, 1.5]},
        "note": {"kind": "text", "role": "drop"},
        "passed": {"kind": "boolean", "role": "target"},
    },
}
DELETE = object()

# name: (path to the field, what is put there, what the message names)
INVALID: dict[str, tuple[str, Any, str]] = {
    "bounds inverted": ("columns/age/bounds", [20, 4], r"columns\.age.*inverted"),
    "bounds not a number": ("columns/height/bounds", [float("nan"), 1.0], r"columns\.height.*finite"),
    "bounds infinite": ("columns/height/bounds", [0.0, float("inf")], r"columns\.height.*finite"),
    "bounds too wide to subtract": ("columns/height/bounds", [-1.7e308, 1.7e308], r"columns\.height.*too far apart"),
    "bounds beyond exact integers": ("columns/age/bounds", [0, 2**53], r"columns\.age.*2\*\*53"),
    "bounds fractional": ("columns/age/bounds", [0, 1.5], r"columns\.age.*integer bounds"),
    "bounds absent": ("columns/age/bounds", DELETE, r"columns\.age.*needs public bounds"),
    "bounds of the wrong type": ("columns/day/bounds", [1, 2], r"columns\.day.*wrong type"),
    "bounds with three ends": ("columns/age/bounds", [1, 2, 3], r"columns\.age\.bounds"),
    "bounds with a time zone": (
        "columns/day/bounds",
        ["2020-01-01T00:00Z", "2021-01-01T00:00Z"],
        r"columns\.day.*zone",
    ),
    "bounds on a boolean": ("columns/passed/bounds", [0, 1], r"columns\.passed.*bounds are for"),
    "dates 300 years apart": ("columns/day/bounds", ["1700-01-01T00:00", "2020-01-01T00:00"], r"columns\.day.*285"),
    "cuts falling": ("columns/height/bins", [1.5, 1.0], r"columns\.height.*rise strictly"),
    "cuts repeated": ("columns/height/bins", [1.5, 1.5], r"columns\.height.*rise strictly"),
    "cuts outside": ("columns/height/bins", [0.5, 1.0], r"columns\.height.*inside the bounds"),
    "cuts not a number": ("columns/height/bins", [float("nan")], r"columns\.height.*rise strictly"),
    "cuts between integers": ("columns/age/bins", [10.2, 10.7], r"columns\.age.*integers"),
    "cuts that are dates": ("columns/age/bins", ["2020-06-01T00:00:00"], r"columns\.age.*wrong type"),
    "cuts of dates that are numbers": ("columns/day/bins", [5, 6], r"columns\.day.*wrong type"),
    "cuts with a time zone": ("columns/day/bins", ["2021-01-01T00:00:00+01:00"], r"columns\.day.*zone"),
    "bins zero": ("columns/age/bins", 0, r"columns\.age.*bins"),
    "bins beyond memory": ("columns/height/bins", 10**9, r"columns\.height.*bins"),
    "categories absent": ("columns/mood 🙂/categories", DELETE, r"columns\.mood 🙂.*public categories"),
    "categories empty": ("columns/mood 🙂/categories", [], r"columns\.mood 🙂.*public categories"),
    "categories repeated": ("columns/mood 🙂/categories", ["gut", "gut"], r"columns\.mood 🙂.*repeat"),
    "categories not text": ("columns/mood 🙂/categories", [1, 2], r"columns\.mood 🙂\.categories\.0.*string"),
    "categories padded": ("columns/mood 🙂/categories", ["gut", "gut "], r"columns\.mood 🙂.*white space"),
    "categories that mean missing": ("columns/mood 🙂/categories", ["gut", ""], r"mood 🙂.*null_values"),
    "categories on a number": ("columns/age/categories", ["4"], r"columns\.age.*categories and other"),
    "other undeclared": ("columns/mood 🙂/other", "sonst", r"columns\.mood 🙂.*other"),
    "other on a number": ("columns/age/other", "4", r"columns\.age.*categories and other"),
    "clip a category": ("columns/mood 🙂/out_of_domain", "clip", r"columns\.mood 🙂.*clip"),
    "kind unknown": ("columns/age/kind", "number", r"columns\.age\.kind"),
    "kind absent": ("columns/age/kind", DELETE, r"columns\.age\.kind"),
    "role unknown": ("columns/age/role", "label", r"columns\.age\.role"),
    "role of a text": ("columns/note/role", "feature", r"columns\.note.*role drop or subject_id"),
    "role of an identifier": ("columns/pupil/role", "target", r"columns\.pupil.*role drop or subject_id"),
    "extra key in a column": ("columns/age/boundz", [1, 2], r"columns\.age\.boundz"),
    "extra key": ("colums", {}, r"colums"),
    "two targets": ("columns/age/role", "target", r"target.*\['age', 'passed'\]"),
    "target that may be missing": ("columns/passed/missing", True, r"target 'passed'"),
    "subject of another name": ("subject", "student", r"subject is 'student'.*\['pupil'\]"),
    "subject row beside a subject column": ("subject", "row", r"subject is 'row'"),
    "row_key not stored": ("row_key", ["note"], r"row_key.*note"),
    "row_key unknown": ("row_key", ["week"], r"row_key.*week"),
    "holdout two ways": ("holdout", {"share": 0.2, "file": "x.csv"}, r"holdout"),
    "holdout no way": ("holdout", {}, r"holdout"),
    "holdout of everyone": ("holdout", {"share": 1.0}, r"holdout\.share"),
    "holdout not a number": ("holdout", {"share": float("nan")}, r"holdout\.share"),
    "rows per subject zero": ("max_rows_per_subject", 0, r"max_rows_per_subject"),
    "population blank": ("population", "", r"population"),
    "population a path": ("population", "../pupils", r"population"),
    "columns absent": ("columns", DELETE, r"columns"),
    "columns empty": ("columns", {}, r"columns"),
    "columns a list": ("columns", ["age"], r"columns"),
    "column name reserved": ("columns/__subject", {"kind": "boolean"}, r"reserved.*__subject"),
    "column name blank": ("columns/ ", {"kind": "boolean"}, r"blank"),
}


def _with(path: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(VALID)
    *parents, last = path.split("/")
    place = document
    for parent in parents:
        place = place[parent]
    if value is DELETE:
        del place[last]
    else:
        place[last] = value
    return document


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_document_is_refused_by_name(name: str) -> None:
    path, value, message = INVALID[name]
    with pytest.raises(InputError) as caught:
        parse_schema(_with(path, value), source="pupils.yaml")
    assert str(caught.value).startswith("pupils.yaml is not a valid schema: ")
    assert re.search(message, str(caught.value)), str(caught.value)


def test_every_fault_is_reported_at_once() -> None:
    document = _with("columns/age/bounds", [20, 4])
    document["columns"]["height"]["bins"] = 0
    with pytest.raises(InputError, match=r"columns\.age.*columns\.height"):
        parse_schema(document, source="pupils.yaml")


def test_subject_row_allows_one_row_and_no_key() -> None:
    columns = {"age": VALID["columns"]["age"]}
    row = {"population": "p", "identity_type": "i", "subject": "row", "columns": columns}
    parse_schema(row, source="s")
    for extra in ({"max_rows_per_subject": 2}, {"row_key": ["age"]}):
        with pytest.raises(InputError, match="subject: row"):
            parse_schema(row | extra, source="s")


def test_a_schema_that_stores_nothing_is_refused() -> None:
    columns = {"note": {"kind": "text", "role": "drop"}}
    with pytest.raises(InputError, match="no column is stored"):
        parse_schema({"population": "p", "identity_type": "i", "subject": "row", "columns": columns}, source="s")


@pytest.mark.parametrize("document", [None, [], ["columns"], "columns", 3])
def test_a_document_that_is_no_mapping_is_refused(document: Any) -> None:
    with pytest.raises(InputError, match="expected a mapping"):
        parse_schema(document, source="s")


UNREADABLE = {
    "duplicate key": (b"population: a\npopulation: b\n", "keys repeat.*population"),
    "duplicate column": (b"columns:\n  age: {kind: boolean}\n  age: {kind: text}\n", "keys repeat.*age"),
    "duplicate of another spelling": (b"columns:\n  age: {kind: boolean}\n  'age': {kind: text}\n", "keys repeat"),
    "broken syntax": (b"columns: [\n", "not valid YAML at line 2"),
    "no such date": (b"columns: {day: {kind: datetime, bounds: [2020-13-01, 2021-01-01]}}\n", "not valid YAML"),
    "not UTF-8": ("population: é".encode("utf-16"), "not UTF-8"),
    "a Python object": (b"columns: !!python/object/apply:os.system [true]\n", "has a tag at line 1"),
    "bottomless": (b"[" * 100_000, "nested too deeply"),
    "empty": (b"", "expected a mapping"),
    "a table by mistake": (b"name,age\nsecret-person,31\n", "expected a mapping"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_an_unreadable_file_is_refused(name: str, tmp_path: Path) -> None:
    content, message = UNREADABLE[name]
    path = tmp_path / "schema.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_schema(path)
    assert "secret-person" not in str(caught.value)


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no schema file"):
        read_schema(tmp_path / "absent.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        read_schema(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_schema_survives_yaml_with_and_without_a_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    schema = parse_schema(VALID, source="s")
    path = tmp_path / "schema.yaml"
    path.write_text(schema.to_yaml(), encoding=encoding)
    again = read_schema(path)
    assert again == schema
    assert again.digest() == schema.digest()
    assert "mood 🙂" in path.read_text(encoding=encoding)


def test_yaml_anchors_and_merges_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "schema.yaml"
    path.write_text(
        "population: p\nidentity_type: i\nsubject: row\ncolumns:\n"
        "  first: &mark {kind: integer, bounds: [1, 6], role: feature}\n"
        "  second: {<<: *mark, bounds: [1, 9]}\n"
    )
    schema = read_schema(path)
    assert schema.columns["second"].high == 9
    assert schema.columns["first"].high == 6


def test_a_schema_of_an_earlier_version_keeps_its_digest() -> None:
    """It stands in manifests and certificates: a field that is not set is no part of it."""
    german = read_schema(Path(__file__).parents[2] / "configs" / "datasets" / "german.yaml")
    assert german.digest() == "47058dd76f05e1aa4d73375aa5f38c232cd939c158f86d9a50bf97b0bdaf864d"


def test_the_digest_changes_with_every_public_field() -> None:
    changed = [
        _with("population", "others"),
        _with("max_rows_per_subject", 4),
        _with("people", 500),
        _with("columns/age/bounds", [4, 21]),
        _with("columns/age/bins", 5),
        _with("columns/mood 🙂/categories", ["gut", "mäßig", "schlecht"]),
        _with("columns/age/reviewed", False),
    ]
    digests = {parse_schema(document, source="s").digest() for document in [VALID, *changed]}
    assert len(digests) == len(changed) + 1


def test_a_schema_names_its_target_its_stored_columns_and_what_nobody_reviewed() -> None:
    schema = parse_schema(_with("columns/age/reviewed", False), source="s")
    assert schema.target == "passed"
    assert list(schema.encoded) == ["day", "age", "mood 🙂", "height", "passed"]
    assert schema.unreviewed == ("age",)


def test_a_schema_is_frozen() -> None:
    schema = parse_schema(VALID, source="s")
    with pytest.raises(ValueError, match="frozen"):
        schema.population = "others"  # type: ignore[misc]


def test_the_default_holdout_is_a_fifth_of_the_subjects() -> None:
    document = yaml.safe_load(yaml.safe_dump(_with("holdout", DELETE)))
    assert Schema.model_validate(document).holdout.share == 0.2
