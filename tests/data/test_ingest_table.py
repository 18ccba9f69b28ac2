"""A bad table is refused whole: the fault is named by column, rule and row, no cell is shown, nothing is stored."""

import gzip
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PUPILS_SCHEMA, pupils
from sqlalchemy import text

from workbench.data import catalog
from workbench.errors import BusyError, InputError, NotFoundError
from workbench.schema import read_schema
from workbench.tracking import Tracking
from workbench.workflows.datasets.ingest import append, ingest
from workbench.workflows.datasets.refused_ingests import informed_by_refusals

SECRET = "zq-secret-zq"  # in every bad cell or row, and so in no message


def table(n=40):
    return pupils(n)


def with_cell(column, row, value):
    def change(frame):
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
        return frame

    return change


def write(frame, path):
    if path.name.endswith(".parquet"):
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False)
    return path


def stored(workspace):
    """Everything an ingest may leave behind."""
    with workspace.engine.connect() as connection:
        rows = [
            connection.execute(text(f"SELECT * FROM {t}")).all()
            for t in ("datasets", "buckets", "journal WHERE kind <> 'INGEST_REFUSED'", "artifacts")
        ]
    with Tracking(workspace.root).connection(timeout=5) as connection:
        runs = connection.execute("SELECT run_uuid FROM runs").fetchall()
    folders = [sorted((workspace.root / name).rglob("*")) for name in ("data", "staging")]
    return rows, runs, folders


def refused(workspace, schema_path, data_path, *, name="pupils", error=InputError):
    before = stored(workspace)
    with pytest.raises(error) as caught:
        ingest(workspace, name, schema=schema_path, data=data_path)
    assert stored(workspace) == before, "something was stored"
    said = f"{caught.value} {caught.value.hint}".replace(str(data_path), "FILE").replace(str(schema_path), "SCHEMA")
    assert SECRET not in said, "a cell is shown"
    return said


def schema_file(folder, **changes):
    document = yaml.safe_load(PUPILS_SCHEMA)
    for column, change in changes.pop("columns", {}).items():
        document["columns"][column] |= change
    path = folder / "schema.yaml"
    path.write_text(yaml.safe_dump(document | changes, allow_unicode=True), encoding="utf-8")
    return path


def test_a_column_that_is_changed_after_a_refusal_is_marked_as_read_from_the_data(workspace, tmp_path):
    data = tmp_path / "pupils.csv"
    pupils(40).to_csv(data, index=False)
    narrow, wide = tmp_path / "narrow", tmp_path / "wide"
    narrow.mkdir(), wide.mkdir()
    said = refused(workspace, schema_file(narrow, columns={"hours": {"bounds": [0, 40]}}), data)
    assert "reviewed: false" in said
    widened = schema_file(wide)
    assert ingest(workspace, "again", schema=widened, data=data).unreviewed == ("hours",), "the same people"
    with workspace.engine.connect() as connection:
        assert catalog.entry(connection, "again").schema.unreviewed == ("hours",)


def test_another_name_and_population_do_not_hide_that_a_column_was_refused(workspace, tmp_path):
    data = tmp_path / "pupils.csv"
    pupils(40).to_csv(data, index=False)
    narrow = schema_file(tmp_path, columns={"hours": {"bounds": [0, 40]}}, population="first")
    refused(workspace, narrow, data, name="first")
    other = read_schema(schema_file(tmp_path, population="second", identity_type="second"))
    assert informed_by_refusals(workspace, other).unreviewed == ("hours",)


@pytest.mark.parametrize(
    ("before", "after", "marked"),
    [
        ({"max_rows_per_subject": 2}, {}, ("pupil",)),
        ({"row_key": ["town"]}, {}, ("town",)),
        ({"constraints": [{"never": {"passed": ["true"], "town": ["Öland"]}}]}, {}, ("passed", "town")),
        ({"max_rows_per_subject": 2}, {"max_rows_per_subject": 2, "over_limit": "drop"}, ()),
    ],
)
def test_a_rule_that_is_changed_after_a_refusal_marks_its_columns(workspace, tmp_path, before, after, marked):
    pupils(40).to_csv(tmp_path / "pupils.csv", index=False)
    refused(workspace, schema_file(tmp_path, **before), tmp_path / "pupils.csv")
    changed = read_schema(schema_file(tmp_path, **after))
    assert informed_by_refusals(workspace, changed).unreviewed == marked


def test_a_column_that_appended_rows_were_refused_for_is_marked_in_the_next_data_set(trained, tmp_path):
    frame = pupils(4, first=5000)
    frame["hours"] += 50
    frame.to_csv(tmp_path / "pupils.csv", index=False)
    with pytest.raises(InputError, match="breaks its schema"):
        append(trained, "pupils", data=tmp_path / "pupils.csv")
    wide = read_schema(schema_file(tmp_path, columns={"hours": {"bounds": [0, 100]}}))
    assert informed_by_refusals(trained, wide).unreviewed == ("hours",)


def test_rows_that_are_corrected_after_a_refusal_mark_nothing(workspace, tmp_path):
    schema, frame = schema_file(tmp_path, columns={"hours": {"bounds": [0, 40]}}), pupils(40)
    frame.to_csv(tmp_path / "pupils.csv", index=False)
    refused(workspace, schema, tmp_path / "pupils.csv")
    frame[frame["hours"] <= 40].to_csv(tmp_path / "pupils.csv", index=False)
    assert ingest(workspace, "pupils", schema=schema, data=tmp_path / "pupils.csv").unreviewed == ()


@pytest.mark.parametrize("policy", ["reject", "drop"])
@pytest.mark.parametrize("column", ["town", "pupil"])
def test_rows_that_an_open_quote_took_in_are_missed(workspace, tmp_path, column, policy):
    """A quote that a later cell closes at its end: by the rules of CSV, one cell of several lines."""
    lines = pupils(40).to_csv(index=False).splitlines()
    place = lines[0].split(",").index(column)
    for row, (before, after) in {4: ('"', ""), 9: ("", '"')}.items():
        cells = lines[row].split(",")
        cells[place] = f"{before}{cells[place]}{after}"
        lines[row] = ",".join(cells)
    (tmp_path / "pupils.csv").write_text("\n".join(lines) + "\n")
    said = refused(
        workspace, schema_file(tmp_path, columns={"town": {"out_of_domain": policy}}), tmp_path / "pupils.csv"
    )
    assert re.search(rf"column '{column}': a cell holds a line break.*not closed.*\(rows 3;", said)


def every_nth(column, value, rows):
    def change(frame):
        frame[column] = frame[column].astype(object)
        frame.loc[rows, column] = value
        return frame

    return change


def fill(column, value):
    return lambda frame: frame.assign(**{column: value})


def repeat(row):
    return lambda frame: pd.concat([frame, frame.iloc[[row]]], ignore_index=True)


BAD_CELLS = {
    "a category outside the domain": (
        with_cell("town", 7, SECRET),
        r"column 'town': .*categories \(rows 7; 1 in all\)",
    ),
    "a text for a number": (
        with_cell("hours", 3, SECRET),
        r"column 'hours': .*not a finite number \(rows 3; 1 in all\)",
    ),
    "not a number": (with_cell("hours", 3, "NaN"), r"column 'hours': .*finite number \(rows 3;"),
    "infinity": (with_cell("hours", 0, "inf"), r"column 'hours': .*finite number \(rows 0;"),
    "a number out of bounds": (with_cell("hours", 5, 50.5), r"column 'hours': .*declared bounds \(rows 5;"),
    "a fraction for an integer": (with_cell("term", 6, 2.5), r"column 'term': .*not an integer \(rows 6;"),
    "neither true nor false": (with_cell("passed", 9, SECRET), r"column 'passed': .*true or false \(rows 9;"),
    "a missing number": (with_cell("hours", 4, None), r"column 'hours': missing values are not allowed \(rows 4;"),
    "a column of nothing": (fill("hours", None), r"column 'hours': missing .*\(rows 0, 1, 2, 3, 4, …; \d+ in all\)"),
    "a missing subject": (with_cell("pupil", 8, None), r"column 'pupil': .*identifier is missing \(rows 8; 1 in all\)"),
    "a blank subject": (with_cell("pupil", 8, "  "), r"column 'pupil': .*identifier is missing \(rows 8;"),
    "five rows at most are shown": (
        every_nth("town", SECRET, [30, 2, 9, 11, 20, 25, 33]),
        r"\(rows 2, 9, 11, 20, 25, …; 7 in all\)",
    ),
    "five rows are all shown": (every_nth("town", SECRET, [30, 2, 9, 11, 20]), r"\(rows 2, 9, 11, 20, 30; 5 in all\)"),
    "a row key that repeats": (
        repeat(3),
        r"column 'term': the row key repeats within its subject \(rows (3|LAST); 1 in all",
    ),
    "too many rows of a subject": (
        fill("pupil", SECRET),
        r"column 'term': the row key repeats.*column 'pupil': the subject has more than max_rows_per_subject = 3 rows",
    ),
    "two faults at once": (
        lambda frame: with_cell("term", 1, 99)(with_cell("town", 2, SECRET)(frame)),
        r"'term': .*\(rows 1; 1 in all\); column 'town': .*\(rows 2; 1 in all\)",
    ),
}


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
@pytest.mark.parametrize("case", BAD_CELLS)
def test_a_bad_row_is_named_by_column_rule_and_number(workspace, tmp_path, case, ending):
    change, pattern = BAD_CELLS[case]
    frame = change(table())
    if ending == "parquet":
        frame = frame.astype({c: str for c in frame if frame[c].dtype == object and frame[c].map(type).nunique() > 2})
        mixed = [c for c in frame if frame[c].dtype == object and frame[c].notna().any()]
        frame[mixed] = frame[mixed].apply(lambda s: s.map(str, na_action="ignore"))
    said = refused(workspace, schema_file(tmp_path), write(frame, tmp_path / f"bad.{ending}"))
    assert re.search(pattern.replace("LAST", str(len(frame) - 1)), said), said


def test_rows_are_numbered_over_all_chunks(workspace, tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.data.reader.CHUNK_ROWS", 7)
    frame = every_nth("town", SECRET, [6, 7, 30])(table())
    assert "(rows 6, 7, 30; 3 in all)" in refused(workspace, schema_file(tmp_path), write(frame, tmp_path / "bad.csv"))


CSV = table(3).to_csv(index=False)
BAD_FILES = {
    "empty": (b"", "is empty"),
    "blank lines only": (b"\n\n", "is empty"),
    "header only": (CSV.split("\n")[0].encode() + b"\n", "a header but no rows"),
    "missing column": (table(3).drop(columns="hours").to_csv(index=False).encode(), r"lacks the columns \['hours'\]"),
    "case of a column": (CSV.replace("hours", "Hours", 1).encode(), r"\['hours'\] differ in case"),
    "no header": (f"{SECRET},1,Öland,3,True\n".encode() * 2, "lacks the columns .* it has 5 columns"),
    "no header, repeated cells": (f"{SECRET},{SECRET},Öland,3,True\n".encode(), r"one name, at places \[1, 2\]"),
    "a column twice": (CSV.replace("hours", "term", 1).encode(), r"several columns of one name, at places \[2, 4\]"),
    "a long row": (CSV.encode() + f"{SECRET},1,Öland,3,True,{SECRET}\n".encode(), r"ragged: a row \(data row LAST\)"),
    "a short row": (CSV.encode() + f"{SECRET},1\n".encode(), r"ragged: a row \(data row LAST\)"),
    "Latin-1": (CSV.encode("utf-8").replace("Ö".encode(), b"\xd6"), "not UTF-8 text"),
    "UTF-16": (CSV.encode("utf-16"), "not UTF-8 text|lacks the columns|ragged"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not UTF-8|lacks|ragged|not a readable"),
}


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_refused_without_showing_a_cell(workspace, tmp_path, case, ending):
    content, pattern = BAD_FILES[case]
    path = tmp_path / f"bad.{ending}"
    path.write_bytes(gzip.compress(content) if ending == "csv.gz" else content)
    said = refused(workspace, schema_file(tmp_path), path)
    assert re.search(pattern.replace("LAST", str(len(table(3)))), said), said


def damaged(content, place):
    at = int(len(content) * place)
    return content[:at] + b"\xff" * 20 + content[at + 20 :]


@pytest.mark.parametrize("place", [0.0, 0.01, 0.3, 0.6, 0.97, "cut", "empty"])
@pytest.mark.parametrize("ending", ["csv.gz", "parquet"])
def test_a_damaged_file_is_refused(workspace, tmp_path, ending, place):
    frame, sink = table(500), io.BytesIO()
    if ending == "parquet":
        frame.to_parquet(sink, index=False)
    content = sink.getvalue() or gzip.compress(frame.to_csv(index=False).encode())
    broken = (
        {"cut": content[: len(content) // 2], "empty": b""}.get(place)
        if isinstance(place, str)
        else damaged(content, place)
    )
    path = tmp_path / f"bad.{ending}"
    path.write_bytes(broken)
    refused(workspace, schema_file(tmp_path), path)


def test_parquet_without_rows_or_with_a_repeated_name_is_refused(workspace, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "bad.parquet"
    write(table().iloc[:0], path)
    assert "no rows" in refused(workspace, schema_file(tmp_path), path)
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["term", "term"])
    pq.write_table(twice, path)
    assert "several columns of one name" in refused(workspace, schema_file(tmp_path), path)


@pytest.mark.parametrize("kind", ["missing", "folder", "ending", "schema missing", "schema folder"])
def test_a_path_that_leads_nowhere_is_refused(workspace, tmp_path, kind):
    schema, data = schema_file(tmp_path), write(table(), tmp_path / "good.csv")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "good.xlsx").write_bytes(data.read_bytes())
    paths = {
        "missing": (schema, tmp_path / "none.csv"),
        "folder": (schema, tmp_path / "folder.csv"),
        "ending": (schema, tmp_path / "good.xlsx"),
        "schema missing": (tmp_path / "none.yaml", data),
        "schema folder": (tmp_path, data),
    }
    assert refused(workspace, *paths[kind])


@pytest.mark.parametrize("name", ["", "..", "../evil", "a/b", "/tmp/evil", ".hidden", "a..b", "a\nb", "ä", "x" * 65])
def test_a_name_that_is_no_file_name_is_refused(workspace, tmp_path, name):
    assert "not a usable name" in refused(
        workspace, schema_file(tmp_path), write(table(), tmp_path / "g.csv"), name=name
    )


def test_a_name_that_is_taken_is_refused(trained, pupils_files):
    assert "already" in refused(trained, *pupils_files)
    assert (trained.root / "data" / "pupils").is_dir()


def test_a_name_that_is_not_bundled_needs_a_schema_and_data(workspace, tmp_path):
    refused(workspace, None, None, name="nothing", error=NotFoundError)
    refused(workspace, schema_file(tmp_path), None)


def test_one_writer_at_a_time(workspace, tmp_path):
    schema, data = schema_file(tmp_path), write(table(), tmp_path / "g.csv")
    with workspace.lock("pupils"):
        refused(workspace, schema, data, error=BusyError)


def test_a_subject_in_both_files_is_refused_with_its_row_in_the_holdout_file(workspace, tmp_path):
    frame = table()
    late = pupils(5, first=9000)
    late.loc[4, "pupil"] = frame.loc[0, "pupil"]
    write(late, tmp_path / "late.csv")
    schema = schema_file(tmp_path, holdout={"file": "late.csv"})
    said = refused(workspace, schema, write(frame, tmp_path / "g.csv"))
    assert "both in the table and in the holdout file (rows 4 of the holdout file; 1 in all)" in said
    schema = schema_file(tmp_path, holdout={"file": "none.csv"})
    assert "no holdout file" in refused(workspace, schema, tmp_path / "g.csv")


@pytest.mark.parametrize("dtype", ["float64", "float32", "Float64"])
def test_identifiers_that_a_float_has_rounded_are_refused(workspace, tmp_path, dtype):
    first = 2**24 if dtype == "float32" else 2**53
    frame = table(12).assign(pupil=lambda f: pd.Series(np.arange(first, first + len(f))).astype(dtype))
    assert "rounded" in refused(workspace, schema_file(tmp_path), write(frame, tmp_path / "bad.parquet"))


def test_a_nullable_integer_identifier_that_is_missing_is_named(workspace, tmp_path):
    numbers = pd.array([*range(len(table()) - 1), None], dtype="Int64")
    said = refused(workspace, schema_file(tmp_path), write(table().assign(pupil=numbers), tmp_path / "bad.parquet"))
    assert f"identifier is missing (rows {len(numbers) - 1}; 1 in all)" in said


def test_a_subject_spelt_as_a_null_value_is_missing(workspace, tmp_path):
    schema = schema_file(tmp_path, null_values=["", "NA"])
    said = refused(workspace, schema, write(with_cell("pupil", 2, "NA")(table()), tmp_path / "bad.csv"))
    assert "identifier is missing (rows 2; 1 in all)" in said


def test_nothing_left_to_train_on_is_refused(workspace, tmp_path):
    schema = schema_file(tmp_path, columns={"hours": {"out_of_domain": "drop"}})
    said = refused(workspace, schema, write(table().assign(hours=99), tmp_path / "bad.csv"))
    assert "keeps no row to train on" in said


def test_two_tables_of_rows_share_no_identity_type(workspace, tmp_path):
    columns = {"hours": {"kind": "continuous", "bounds": [0, 50]}}
    document = {"population": "p", "identity_type": "t", "subject": "row", "columns": columns}
    (tmp_path / "rows.yaml").write_text(yaml.safe_dump(document))
    data = write(table(8)[["hours"]], tmp_path / "rows.csv")
    ingest(workspace, "one", schema=tmp_path / "rows.yaml", data=data)
    assert "row numbers mean other people" in refused(workspace, tmp_path / "rows.yaml", data, name="two")


# --- tables that are fine ---


def read(workspace, name="pupils", split="train"):
    with workspace.engine.connect() as connection:
        return catalog.store(connection, workspace, name).read(split)


def sorted_frame(workspace, name="pupils"):
    frames = [
        dataset.codec.decode(dataset.values) for dataset in (read(workspace, name, s) for s in ("train", "holdout"))
    ]
    return pd.concat(frames).sort_values(["hours"], ignore_index=True)


ENDINGS = ("csv", "csv.gz", "parquet")


def test_every_format_and_every_spelling_stores_the_same_table(workspace, tmp_path):
    """Unicode, emoji, a byte-order mark, Windows line ends, capital endings, a pandas index, categories, other columns."""
    frame, schema = table(6), schema_file(tmp_path)
    text_form = frame.to_csv(index=False)
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + text_form.encode())
    (tmp_path / "dos.csv").write_bytes(text_form.replace("\n", "\r\n").encode())
    (tmp_path / "quoted.CSV").write_text(frame.to_csv(index=False, quoting=1), encoding="utf-8")
    write(frame.assign(note='line\nbreak, "quote"')[["note", *frame.columns[::-1]]], tmp_path / "wide.csv")
    frame.set_index(["pupil", "term"]).to_parquet(tmp_path / "index.parquet")
    frame.sample(frac=1, random_state=0).to_parquet(tmp_path / "shuffled.parquet")
    frame.astype({"town": "category", "pupil": "category"}).to_parquet(tmp_path / "category.parquet")
    paths = [write(frame, tmp_path / f"t.{ending}") for ending in ENDINGS]
    paths += [tmp_path / name for name in ("bom.csv", "dos.csv", "quoted.CSV", "wide.csv")]
    paths += [tmp_path / f"{name}.parquet" for name in ("index", "shuffled", "category")]
    expected = frame.drop(columns="pupil").sort_values(["hours"], ignore_index=True)
    results = []
    for number, path in enumerate(paths):
        ingest(workspace, f"t{number}", schema=schema, data=path)
        results.append(read(workspace, f"t{number}"))
        pd.testing.assert_frame_equal(
            sorted_frame(workspace, f"t{number}"), expected, check_dtype=False, check_like=True, obj=path.name
        )
    for other in results[1:]:
        np.testing.assert_array_equal(other.values, results[0].values)
        np.testing.assert_array_equal(other.points, results[0].points)


def test_one_row_is_a_table(workspace, tmp_path):
    schema = schema_file(tmp_path, holdout={"share": 1e-9})
    result = ingest(workspace, "pupils", schema=schema, data=write(table().iloc[:1], tmp_path / "one.csv"))
    assert (result.rows, result.subjects) == ({"train": 1}, {"train": 1})


def test_policies_drop_and_count_and_clip_keeps(workspace, tmp_path):
    frame = table(12)
    rows = len(frame)
    frame.loc[[1, 2], "town"] = SECRET  # dropped
    frame.loc[[3, 4], "hours"] = [99.0, -5.0]  # clipped, so kept
    frame.loc[5, "hours"] = np.nan  # clip can't mend it: dropped
    many = pd.DataFrame({"pupil": "pupil-x", "term": range(1, 10), "town": "Öland", "hours": 1.0, "passed": True})
    frame = pd.concat([frame, many, many.iloc[:2].assign(hours=2.0)], ignore_index=True)
    columns = {"town": {"out_of_domain": "drop"}, "hours": {"out_of_domain": "clip"}}
    schema = schema_file(tmp_path, columns=columns, duplicates="drop", over_limit="drop")
    result = ingest(workspace, "pupils", schema=schema, data=write(frame, tmp_path / "t.csv"))
    assert result.left_out == {"out_of_domain": 3, "duplicates": 2, "over_limit": 6}
    assert sum(result.rows.values()) == rows - 3 + 3
    hours = sorted_frame(workspace)["hours"]
    assert (hours.min(), hours.max()) == (0.0, 50.0)
    assert (hours == 2.0).sum() == 0, "of two records with one key the first in canonical order stays"


LEVELS = {"determined": {"column": "level", "by": "town", "values": {"Öland": 1, "Åland": 2, "東京 🗼": 3}}}
LATE = {"never": {"term": [9, 9], "passed": [True]}}


def constrained(folder, **policy):
    columns = {"level": {"kind": "integer", "bounds": [1, 3], "missing": True} | policy}
    document = yaml.safe_load(PUPILS_SCHEMA)
    document["columns"] |= columns
    document["columns"]["term"] |= policy
    document["columns"]["passed"] |= policy
    document["constraints"] = [LEVELS, LATE]
    (folder / "schema.yaml").write_text(yaml.safe_dump(document, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return folder / "schema.yaml"


def levelled():
    frame = table(12)
    frame["level"] = frame["town"].map(LEVELS["determined"]["values"])
    frame.loc[frame["term"] == 9, "passed"] = False
    return frame


def test_rows_that_break_a_constraint_are_named_by_rule_and_number(workspace, tmp_path):
    frame = levelled()
    good = ingest(workspace, "good", schema=constrained(tmp_path), data=write(frame, tmp_path / "good.parquet"))
    assert sum(good.rows.values()) == len(frame)
    frame.loc[[3, 8], ["town", "level"]] = ["Öland", 3]
    frame.loc[6, ["term", "passed"]] = [9, True]
    said = refused(workspace, constrained(tmp_path), write(frame, tmp_path / "bad.parquet"))
    assert "column 'level': value is not the one that its determining column gives (rows 3, 8; 2 in all)" in said
    assert "column 'term, passed': the values never occur together (rows 6; 1 in all)" in said
    assert "Öland" not in said


def test_rows_that_break_a_constraint_are_left_out_where_the_policy_drops(workspace, tmp_path):
    frame = levelled()
    frame.loc[[3, 8], ["town", "level"]] = ["Öland", 3]
    frame.loc[6, ["term", "passed"]] = [9, True]
    schema = constrained(tmp_path, out_of_domain="drop")
    result = ingest(workspace, "pupils", schema=schema, data=write(frame, tmp_path / "t.csv"))
    assert result.left_out == {"out_of_domain": 3}
    assert sum(result.rows.values()) == len(frame) - 3


def test_a_table_that_tells_nothing_is_a_table(workspace, tmp_path):
    """Fewer rows than columns: constant ones, domains of one value, all values different, nothing but gaps."""
    columns = {
        "who": {"kind": "identifier", "role": "subject_id"},
        "only": {"kind": "categorical", "categories": ["x"]},
        "point": {"kind": "integer", "bounds": [5, 5]},
        "spot": {"kind": "continuous", "bounds": [0.5, 0.5]},
        "instant": {"kind": "datetime", "bounds": ["2020-01-01T00:00:00", "2020-01-01T00:00:00"]},
        "constant": {"kind": "integer", "bounds": [0, 9]},
        "unique": {"kind": "integer", "bounds": [0, 10**6], "bins": 65536},
        "gaps": {"kind": "boolean", "missing": True},
    }
    document = {
        "population": "p",
        "identity_type": "i",
        "subject": "who",
        "columns": columns,
        "holdout": {"share": 1e-9},
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    frame = pd.DataFrame(
        {"who": ["a", "b", "c"], "only": "x", "point": 5, "spot": 0.5, "instant": "2020-01-01", "constant": 7}
    ).assign(unique=[1, 500, 999_999], gaps=None)
    result = ingest(workspace, "t", schema=tmp_path / "s.yaml", data=write(frame, tmp_path / "t.csv"))
    assert result.rows == {"train": 3}
    stored_values = read(workspace, "t")
    codec = stored_values.codec
    cells = codec.bin_free(stored_values.values)
    assert codec.free_sizes == (1, 1, 1, 1, 10, 65536, 3)
    drawn = codec.complete(cells, np.random.default_rng(0))
    np.testing.assert_array_equal(codec.bin_free(drawn), cells)
    assert codec.encode(codec.decode(drawn)).violations == []


def test_no_raw_identifier_is_in_any_stored_byte(workspace, tmp_path):
    """Also inside compressed Parquet columns, and for numbers, as eight bytes."""
    import pyarrow.parquet as pq

    frame = table(12).assign(pupil=lambda f: 7_300_000_000_000 + pd.factorize(f["pupil"])[0])
    identifiers = [str(i).encode() for i in frame["pupil"].unique()]
    identifiers += [int(i).to_bytes(8, "little") for i in frame["pupil"].unique()]
    ingest(workspace, "pupils", schema=schema_file(tmp_path), data=write(frame, tmp_path / "t.parquet"))
    for path in (p for p in workspace.root.rglob("*") if p.is_file()):
        content = path.read_bytes() + path.name.encode()
        if path.suffix == ".parquet":
            opened = pq.read_table(path)
            content += repr(opened.to_pydict()).encode()
            content += b"".join(
                bytes(b) for c in opened.columns for k in c.chunks for b in k.buffers() if b is not None
            )
        assert not any(identifier in content for identifier in identifiers), path
    assert all(p.stat().st_mode & 0o077 == 0 for p in (workspace.root / "data").rglob("*.parquet"))


def test_the_holdout_share_is_kept_and_stable(workspace, tmp_path):
    schema = schema_file(tmp_path)
    ingest(workspace, "few", schema=schema, data=write(pupils(100), tmp_path / "few.parquet"))
    ingest(workspace, "all", schema=schema, data=write(pupils(200), tmp_path / "all.parquet"))
    held = {name: set(read(workspace, name, "holdout").points.tolist()) for name in ("few", "all")}
    trained = {name: set(read(workspace, name).points.tolist()) for name in ("few", "all")}
    assert held["few"] <= held["all"], "nobody changes sides when others join"
    assert not held["all"] & trained["all"], "no subject is on both sides"
    for side in (held["all"], trained["all"]):
        assert abs(np.mean([point / 2**64 for point in side]) - 0.5) < 0.25, "the sides are drawn from the whole line"
    assert abs(len(held["all"]) / 200 - 0.25) < 5 * (0.25 * 0.75 / 200) ** 0.5


def test_an_ingest_that_fails_late_leaves_nothing(workspace, tmp_path, monkeypatch):
    def crash(*_, **__):
        raise InputError("disk full")

    monkeypatch.setattr("workbench.workflows.datasets.ingest.catalog.record_bucket", crash)
    refused(workspace, schema_file(tmp_path), write(table(8), tmp_path / "t.csv"))
    monkeypatch.undo()
    ingest(workspace, "pupils", schema=schema_file(tmp_path), data=tmp_path / "t.csv")


_MILLION = """
import sys, time
from pathlib import Path
from workbench.workflows.datasets.ingest import append, ingest
from workbench.workflows.datasets.refused_ingests import informed_by_refusals
from workbench.state.workspace import Workspace
import mlflow, pyarrow.csv, pyarrow.parquet, pandas, alembic
def kilobytes(field):  # not getrusage: its maximum is inherited from the process that started this one
    return int(Path("/proc/self/status").read_text().split(field + ":")[1].split()[0])
base = kilobytes("VmRSS")
started = time.perf_counter()
ingest(Workspace.open(Path(sys.argv[1])), "million", schema=Path(sys.argv[2]), data=Path(sys.argv[3]))
print(round(time.perf_counter() - started, 1), base // 1024, kilobytes("VmHWM") // 1024)
"""


@pytest.mark.slow
def test_a_million_rows_take_less_than_a_gigabyte(workspace, tmp_path):
    from workbench.config import CONFIGS
    from workbench.data.bundled import bundled_path

    frame = pd.read_parquet(bundled_path("adult.parquet")).sample(1_000_000, replace=True, random_state=0)
    frame.to_csv(tmp_path / "million.csv", index=False)
    schema = (CONFIGS / "datasets" / "adult.yaml").read_text(encoding="utf-8")
    (tmp_path / "s.yaml").write_text(schema.replace("file: adult_test.parquet", "share: 0.2"), encoding="utf-8")
    command = [
        sys.executable,
        "-c",
        _MILLION,
        str(workspace.root),
        str(tmp_path / "s.yaml"),
        str(tmp_path / "million.csv"),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, base, peak = map(float, done.stdout.split())
    print(f"1,000,000 rows: {seconds} s, {base} MB before, {peak} MB at most")
    assert peak - base <= 1024
    assert Path(workspace.root / "data" / "million").is_dir()
