"""Tables arrive in chunks, complete and unchanged, or the reader says what is wrong without quoting a cell."""

import csv
import gzip

import numpy as np
import pandas as pd
import pytest

from workbench.data.reader import CHUNK_ROWS, column_names, estimate_rows, header_of, read_chunks
from workbench.errors import InputError

ROWS = CHUNK_ROWS + 10_000


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    folder = tmp_path_factory.mktemp("big")
    frame = pd.DataFrame({"a": np.arange(ROWS).astype(str), "b": 'x,"y"\nz', "c": 1})
    frame.to_csv(folder / "t.csv", index=False)
    (folder / "t.csv.gz").write_bytes(gzip.compress((folder / "t.csv").read_bytes(), 1))
    frame.to_parquet(folder / "t.parquet")
    return folder


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_chunks_are_bounded_complete_and_in_order(big, ending):
    chunks = list(read_chunks(big / f"t.{ending}", ["b", "a"]))
    assert all(0 < len(chunk) <= CHUNK_ROWS for chunk in chunks)
    assert len(chunks) > 1
    whole = pd.concat(chunks)
    assert whole["a"].tolist() == list(map(str, range(ROWS)))
    assert set(whole["b"]) == {'x,"y"\nz'}
    assert set(whole.columns) == {"a", "b"}, "only the columns asked for are read"
    assert column_names(big / f"t.{ending}") == ["a", "b", "c"]


def test_the_number_of_rows_is_estimated_for_progress(big):
    assert estimate_rows(big / "t.parquet") == ROWS
    for ending in ("csv", "csv.gz"):
        assert 0.5 < estimate_rows(big / f"t.{ending}") / (2 * ROWS) < 2, "lines: each row has a line break in a cell"


def test_csv_cells_stay_text(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n007,1e3\nNA,\n,true\n")
    (frame,) = read_chunks(tmp_path / "t.csv")
    assert frame.to_numpy().tolist() == [["007", "1e3"], ["NA", ""], ["", "true"]]


@pytest.mark.parametrize(
    ("lines", "row"), [("1,2\n3\n", 1), ('1,"x\ny"\n3,4,5\n', 1), ("3,4,5\n", 0), ("1,2\n" * 999 + "3\n", 999)]
)
def test_a_ragged_row_is_named_by_its_number(tmp_path, lines, row):
    (tmp_path / "t.csv").write_text("a,b\n" + lines)
    with pytest.raises(InputError, match=rf"data row {row}\)"):
        list(read_chunks(tmp_path / "t.csv"))


@pytest.mark.parametrize("ending", ["csv.gz", "csv", "parquet"])
def test_random_damage_raises_nothing_but_input_errors(tmp_path, ending):
    frame = pd.DataFrame(
        {"a": np.arange(200), "b": pd.Categorical(["x", "ö"] * 100), "c": pd.array([1, None] * 100, "Int64")}
    )
    path = tmp_path / f"t.{ending}"
    frame.to_parquet(path) if ending == "parquet" else frame.to_csv(path, index=False)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(rng.integers(1, 6)):
            content[rng.integers(len(content))] = rng.integers(256)
        path.write_bytes(content)
        try:
            estimate_rows(path)
            list(read_chunks(path, ["a", "b", "c"]))
        except InputError:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
@pytest.mark.parametrize("lines", ['1,2\n3,"4\n5,6\n', '1,"2', '"1,2\n3,4\n', '3,"4\n' + "a canary,6\n" * 600_000])
def test_a_quote_that_is_never_closed_is_told_and_quotes_nothing(tmp_path, lines, ending):
    path = tmp_path / f"t.{ending}"
    content = ("a,b\n" + lines).encode()
    path.write_bytes(content if ending == "csv" else gzip.compress(content, 1))
    with pytest.raises(InputError, match="a quoted cell that never ends") as caught:
        list(read_chunks(path))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("lines", ['1,"2\n3,4\n5,"6\n', '1,"2\n3,"a canary"\n5,6\n', '1,2\n3,"4\r\n5,"6"",7\r\n'])
def test_a_quote_that_a_later_one_closes_takes_in_no_rows(tmp_path, lines):
    """The number of quotes is even, and Arrow makes one cell of what lies between them."""
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + lines)
    limit = csv.field_size_limit()
    with pytest.raises(InputError, match=r"takes in later rows|ragged") as caught:
        list(read_chunks(path))
    assert csv.field_size_limit() == limit, "other readers of this process have theirs"
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("cell", ['5" pipe', '"a ""b""\nc"', '""', '"5" inches', '"' + "a line\n" * 30_000 + '"'])
def test_quotes_that_are_no_cell_s_or_are_closed_are_fine(tmp_path, cell):
    (tmp_path / "t.csv").write_text(f"a,b\n1,{cell}\n2,x\n")
    assert sum(map(len, read_chunks(tmp_path / "t.csv"))) == 2


@pytest.mark.parametrize("rows", [b"", b"1,2\n", b"\xff\n", b'"1,2\n', b"1;2;3\r\n\0"])
def test_the_names_of_columns_are_had_whatever_the_rows_are(tmp_path, rows):
    (tmp_path / "t.csv").write_bytes(b'\xef\xbb\xbfa,"b, c"\n' + rows)
    assert header_of(tmp_path / "t.csv") == ["a", "b, c"]


@pytest.mark.parametrize(
    ("name", "content"), [("t.csv", b""), ("t.csv", b'a,"b\n1,2\n'), ("t.parquet", b"PAR1"), ("t.csv.gz", b"\x1f\x8b")]
)
def test_names_that_stand_alone_nowhere_are_none(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert header_of(tmp_path / name) is None
