"""What the byte scan of an erasure finds and says: identifiers as words, tokens anywhere, and nobody's name."""

from __future__ import annotations

import base64
import gzip
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from workbench.bytescan.archives import Search
from workbench.bytescan.folders import words
from workbench.erasure.byte_scan import BytesFound, Finding, Marks, scan_bytes
from workbench.erasure.weak_scan import is_common, scan_short
from workbench.state.workspace import Workspace

KEY, NUMBER, TOKEN = b"pupil-123456", b"12345678", bytes(range(16))


def plant(workspace: Workspace, place: str, content: bytes) -> Path:
    path = workspace.root / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def looked(workspace: Workspace, needle: bytes = NUMBER) -> BytesFound:
    return scan_bytes(workspace, identifiers=[needle])


@pytest.mark.parametrize("place", ["logs/copy.txt", "copy.txt"])
def test_it_says_in_which_file_and_where(workspace: Workspace, place: str) -> None:
    plant(workspace, place, b"... " + KEY)
    found = looked(workspace, KEY)
    check = found.check(found.findings)
    assert not check.ok
    assert check.detail.startswith("1 hits in ")
    assert check.detail.endswith(f", first in {place} at byte 4")


@pytest.mark.parametrize("place", ["pupil-123456.csv", "pupil-123456/rows.csv", "logs/pupil-123456.csv"])
@pytest.mark.parametrize("content", [b"nothing", b"about " + KEY, b"\x1f\x8bdamaged"])
def test_it_names_no_file_that_is_called_after_the_person(workspace: Workspace, place: str, content: bytes) -> None:
    plant(workspace, place, content)
    found = looked(workspace, KEY)
    check = found.check(found.findings)
    assert not check.ok
    assert KEY.decode() not in check.detail
    assert KEY.decode() not in found.check([f for f in found.findings if f.unread]).detail


WRITTEN = {
    "in a file name": ("x_12345678.txt", b""),
    "after letters": ("a.txt", b"id12345678;"),
    "alone": ("a.txt", NUMBER),
    "as a fraction": ("a.txt", b"0.12345678"),
    "between control bytes": ("a.bin", b"\x00\x0812345678\xff"),
    "in base64": ("a.txt", base64.b64encode(b"xy 12345678.")),
    "in UTF-16": ("a.txt", "x_12345678;".encode("utf-16-le")),
    "in UTF-16, the other way": ("a.txt", "nr. 12345678".encode("utf-16-be")),
    "after an escaped character of a URL": ("a.txt", b"to=nr%2012345678"),
    "after an escaped character of JSON": ("a.json", b'"nr\\u00b012345678"'),
    "packed": ("a.gz", gzip.compress(b"x" * 300 + b"id12345678;")),
    "after a short hexadecimal number": ("a.txt", b"deadbeef 12345678 deadbeef"),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_a_number_is_found_as_a_word_in_every_encoding(workspace: Workspace, how: str) -> None:
    place, content = WRITTEN[how]
    plant(workspace, place, content)
    assert {f.file for f in looked(workspace).findings} == {place}


OTHERS = [
    b"123456789",
    b"0.9123456780",
    b"912345678",
    "x912345678".encode("utf-16-le"),
    b"e3b0c4429812345678afbf4c8996fb92",
]


@pytest.mark.parametrize("content", OTHERS)
def test_a_number_in_a_longer_one_is_another_number(workspace: Workspace, content: bytes) -> None:
    plant(workspace, "a.txt", b"x " + content + b" x")
    assert not looked(workspace).findings


def test_a_longer_identifier_of_somebody_else_is_no_hit_but_in_the_pages_of_a_database(workspace: Workspace) -> None:
    plant(workspace, "a.txt", b"see pupil-1234567 and xpupil-123456")
    with closing(sqlite3.connect(workspace.root / "a.db")) as connection, connection:
        connection.execute("CREATE TABLE t (a, b)")
        connection.execute("INSERT INTO t VALUES ('pupil-123456', '2026')")  # side by side in the page
    found = looked(workspace, KEY).findings
    assert {(f.file, f.hit.where) for f in found} == {("a.db", "rows")}


@pytest.mark.parametrize("around", [b"", b"0123456789", b"\xff\x00" * 20])
def test_a_token_is_found_whatever_is_beside_it(workspace: Workspace, around: bytes) -> None:
    plant(workspace, "a.bin", around + TOKEN + around)
    plant(workspace, "a.txt", around + TOKEN.hex().encode() + around)
    found = scan_bytes(workspace, tokens=[TOKEN, TOKEN.hex().encode()]).findings
    assert {f.file for f in found} == {"a.bin", "a.txt"}
    assert all(f.is_strong for f in found)


def test_every_place_of_a_file_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.bytescan.archives._CHUNK", 50)
    (tmp_path / "a.txt").write_bytes(b"".join(b"%07d;" % n + NUMBER + b";" for n in range(40)))
    hits = Search(words(NUMBER)).file(tmp_path / "a.txt").hits
    assert [hit.offset for hit in hits] == [8 + 17 * n for n in range(40)]
    assert (hits[20].before[-8:], hits[20].after[:9]) == (b"0000020;", b";0000021;")


def test_more_hits_than_are_listed_leave_a_file_unsearched(workspace: Workspace) -> None:
    plant(workspace, "a.txt", b"12345678 " * 1200)
    found = looked(workspace)
    assert len(found.findings) == 1001
    (more,) = [finding for finding in found.findings if finding.unread]
    check = found.check([more])
    assert not check.ok, "those that are not listed were not judged"
    assert check.detail.endswith("1 files can't be searched to their end, first a.txt: more than 1000 hits")


def marked(workspace: Workspace) -> tuple[Marks, list[Finding]]:
    found = looked(workspace, KEY)
    return Marks(workspace.key("token")), list(found.findings)


def test_a_hit_in_a_database_is_recognised_once_its_pages_have_moved(workspace: Workspace) -> None:
    path = workspace.root / "a.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (a TEXT PRIMARY KEY, b)")
        connection.execute("INSERT INTO t VALUES ('see pupil-123456, please', 2026)")
    marks, before = marked(workspace)
    assert [f.hit.where for f in before] == ["rows"], "the page that it is in and that of its index are the same cell"
    kept = marks.of(before[0])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE early (x)")
        connection.executemany("INSERT INTO early VALUES (?)", [("x" * 500,)] * 50)
        connection.executemany("INSERT INTO t VALUES (?, 7)", [(f"row {n}",) for n in range(50)])
        connection.commit()
        connection.execute("VACUUM")
    marks, after = marked(workspace)
    assert [marks.recognises(f, kept) for f in after] == [True]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO t VALUES ('pupil-123456 again', 2026)")
    marks, others = marked(workspace)
    assert sorted(marks.recognises(f, kept) for f in others) == [False, True]
    assert KEY.decode() not in str(kept)


def fill(path: Path, *values: str) -> None:
    """A database of one text a table, each with a number and an index."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for number, value in enumerate(values):
            connection.execute(f"CREATE TABLE t{number} (a TEXT PRIMARY KEY, b)")
            connection.execute(f"INSERT INTO t{number} VALUES (?, ?)", (value, 31000 + number))


@pytest.mark.parametrize("at", range(3))
def test_accepting_a_cell_accepts_no_other(workspace: Workspace, at: int) -> None:
    key = KEY.decode()
    fill(workspace.root / "a.db", key, f"the salary of {key} is 31000", key, f"{key} is ill")
    plant(workspace, "a.txt", KEY)
    marks, found = marked(workspace)
    assert sorted(f.file for f in found) == ["a.db"] * 4 + ["a.txt"]
    kept = marks.of(found[at])
    assert [marks.recognises(f, kept) for f in found].index(True) == at
    assert [marks.recognises(f, kept) for f in found].count(True) == 1


def test_a_copy_of_a_cell_that_no_row_has_any_more_is_a_hit_of_its_own(workspace: Workspace) -> None:
    path = workspace.root / "a.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("CREATE TABLE t (a, b)")
        connection.executemany(
            "INSERT INTO t VALUES (?, ?)", [("pupil-123456", "old"), ("x", "y"), ("pupil-123456", "")]
        )
        connection.commit()
        connection.execute("DELETE FROM t WHERE b = 'old'")
    _, found = marked(workspace)
    assert sorted(f.hit.where for f in found) == ["", "rows"]


def test_a_long_cell_is_told_once_where_its_page_holds_it(workspace: Workspace) -> None:
    fill(workspace.root / "a.db", *(f"{'x' * size} {KEY.decode()} {'y' * 20_000}" for size in (0, 100, 250)))
    _, found = marked(workspace)
    assert [f.hit.where for f in found].count("rows") == 3
    assert {f.hit.cell.table for f in found if f.hit.cell} == {"t0", "t1", "t2"}


def test_the_log_of_a_database_holds_copies_of_its_cells(workspace: Workspace) -> None:
    with closing(sqlite3.connect(workspace.root / "a.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
        connection.execute("INSERT INTO t VALUES (-7, 'see pupil-123456')")
        connection.commit()
        _, found = marked(workspace)
    assert [(f.file, f.hit.where) for f in found] == [("a.db", "rows")]


@pytest.mark.parametrize(("first", "then"), [("{}", "{} is ill"), ("{}", "ill: {}"), ("see {}", "see {}, who is ill")])
def test_a_text_that_ends_beside_a_hit_goes_on_as_another(workspace: Workspace, first: str, then: str) -> None:
    plant(workspace, "a.txt", first.format(KEY.decode()).encode())
    marks, (finding,) = marked(workspace)
    kept = marks.of(finding)
    plant(workspace, "a.txt", then.format(KEY.decode()).encode())
    marks, (other,) = marked(workspace)
    assert not marks.recognises(other, kept)


def test_what_is_beside_a_hit_is_part_of_it(workspace: Workspace) -> None:
    plant(workspace, "a.txt", b"a word: pupil-123456, and more")
    marks, (finding,) = marked(workspace)
    kept = marks.of(finding)
    plant(workspace, "a.txt", b"a word: pupil-123456, and less")
    marks, (other,) = marked(workspace)
    assert not marks.recognises(other, kept)


@pytest.mark.parametrize(
    ("place", "content", "is_found"),
    [
        ("logs/x_123456.txt", "", True),
        ("logs/a.csv", "pupil,term\n123456,3\n", True),
        ("logs/a.json", '{"pupil": "nr 123456"}', True),
        ("logs/a.log", '{"a": 1}\n{"pupil": "123456"}\n', True),
        ("logs/a.json", '{"123456": "ill"}', True),
        ("logs/a.txt", "took 0.123456 s, 1234567 bytes, x123456y", False),
        ("logs/a.json", '{"rows": 123456}', False),
        ("logs/a.bin", "\0123456\0", False),
    ],
)
def test_a_short_identifier_is_searched_as_a_word_of_texts(
    workspace: Workspace, place: str, content: str, *, is_found: bool
) -> None:
    plant(workspace, place, content.encode())
    found, unread = scan_short(workspace, [b"123456"])
    assert (bool(found), unread) == (is_found, [])


def test_no_text_file_is_too_large_for_a_short_identifier(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.erasure.weak_scan._MOST_BYTES", 1000)
    monkeypatch.setattr("workbench.bytescan.archives._CHUNK", 128)
    plant(workspace, "logs/big.log", b"0.123456 1234567 x\n" * 500 + b"to 123456 of Bonn" + b"\nx" * 500)
    plant(workspace, "logs/big.json", b"[" + b"1234567, " * 500 + b'"by 123456"]')
    found, unread = scan_short(workspace, [b"123456"])
    assert ([(f.file, f.hit.before[-3:]) for f in found], unread) == (
        [("logs/big.json", b"by "), ("logs/big.log", b"to ")],
        [],
    )


@pytest.mark.parametrize("name", ["a.csv", "a.json", "a.db", "a.parquet"])
def test_short_identifiers_that_are_a_whole_text_are_told_apart(workspace: Workspace, name: str) -> None:
    path = workspace.root / name
    if name == "a.csv":
        path.write_text("123456\n" + "x" * 40 + "\n123456")
    elif name == "a.json":
        path.write_text('{"a": ["123456", "123456"]}')
    elif name == "a.db":
        fill(path, "123456", "123456")
    else:
        pq.write_table(pa.table({"a": ["x", "123456"], "b": ["123456", "y"]}), path)
    found, _ = scan_short(workspace, [b"123456"])
    marks = Marks(workspace.key("token"))
    assert len({marks.of(finding)["mark"] for finding in found}) == 2


def test_a_file_that_cannot_be_searched_is_recognised_as_long_as_it_is_the_same(workspace: Workspace) -> None:
    path = plant(workspace, "a.gz", b"\x1f\x8bdamaged")
    marks, (finding,) = marked(workspace)
    kept = marks.of(finding)
    assert (kept["file"], "offset" in kept) == ("a.gz", False)
    assert marks.recognises(marked(workspace)[1][0], kept)
    path.write_bytes(b"\x1f\x8bdamaged, too")
    assert not marks.recognises(marked(workspace)[1][0], kept)


def test_more_hits_than_are_listed_are_recognised_in_a_database_that_changes(workspace: Workspace) -> None:
    path = workspace.root / "a.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (a, b)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [("pupil-123456", n) for n in range(1100)])

    def more() -> dict[str, object]:
        marks, found = marked(workspace)
        (finding,) = [f for f in found if f.unread and f.unread.has_more]
        return marks.of(finding)

    kept = more()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO t VALUES ('another', 7)")
    assert more() == kept
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO t VALUES ('pupil-123456', 7)")
    assert more() != kept


def test_a_short_identifier_is_searched_in_columns_and_cells(workspace: Workspace) -> None:
    pq.write_table(pa.table({"a": ["x", "123456"], "b": [123456.0, 1.0]}), workspace.root / "a.parquet")
    pq.write_table(pa.table({"a": [123456, 654321]}), workspace.root / "b.parquet")
    with closing(sqlite3.connect(workspace.root / "a.db")) as connection, connection:
        connection.execute("CREATE TABLE t (a, b)")
        connection.execute("INSERT INTO t VALUES (123456, ?)", ('{"rows": 123456, "by": "local:123456"}',))
    found, _ = scan_short(workspace, [b"123456"])
    assert [f.file for f in found] == ["a.db", "a.parquet"]


@pytest.mark.parametrize(
    ("word", "is_one"),
    [(b"quarantined", True), (b"lovelace", False), (b"12345678", False), (b"ada@example.org", False)],
)
def test_a_word_of_the_workbench_is_one_of_letters(workspace: Workspace, word: bytes, *, is_one: bool) -> None:
    assert is_common(workspace, word) == is_one
