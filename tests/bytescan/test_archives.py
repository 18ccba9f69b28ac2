"""The scan looks inside what is packed, to a bounded depth and size, and says what it could not read."""

import base64
import bz2
import gzip
import hashlib
import io
import lzma
import sqlite3
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather

from workbench.bytescan import archives as search
from workbench.bytescan.archives import Search
from workbench.bytescan.folders import DEPTH, scan_folder, spellings, words

CANARY = b"canary-7f3a"
HAY = b"nothing to see here, " * 50


def zstd(content):
    return pa.compress(content, codec="zstd", asbytes=True)


def zipped(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/b.txt", content)
    return file.getvalue()


def tarred(content, name="member"):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def npz(content):
    file = io.BytesIO()
    np.savez_compressed(file, other=np.arange(9), packed=np.frombuffer(content, dtype=np.uint8))
    return file.getvalue()


def parquet(content, **options):
    file = io.BytesIO()
    values = [b"x" * 20, content, b"y" * 30] * 40
    pq.write_table(pa.table({"n": list(range(120)), "v": pa.array(values)}), file, **options)
    return file.getvalue()


PACKERS = {"gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zstd": zstd, "zip": zipped, "npz": npz}
PACKERS |= {"tar": tarred, "parquet": parquet}


UNPACKED = PACKERS.keys() - {"parquet", "npz"}  # a cell or number is searched as it is: what it packs is not unpacked


@pytest.mark.parametrize(
    ("outer", "inner"),
    [(outer, inner) for outer in PACKERS for inner in ("plain", *(PACKERS if outer in UNPACKED else ()))],
)
def test_a_needle_is_found_however_it_is_packed(tmp_path, outer, inner):
    pack = PACKERS.get(inner, bytes)
    for name, content in (("dirty", HAY + CANARY + HAY), ("clean", HAY)):
        (tmp_path / name).write_bytes(PACKERS[outer](pack(content)))
    found = scan_folder(tmp_path, [CANARY])
    assert (found.hits, found.unread, found.files) == (("dirty",), (), 2)


@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "zstd", "lz4"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_dictionary": False},
        {"use_dictionary": False, "column_encoding": {"n": "PLAIN", "v": "DELTA_BYTE_ARRAY"}},
    ],
)
def test_every_codec_and_encoding_of_parquet(tmp_path, codec, version, options):
    (tmp_path / "t").write_bytes(parquet(CANARY, compression=codec, data_page_version=version, **options))
    found = scan_folder(tmp_path, [CANARY])
    assert (found.hits, found.unread) == (("t",), ())
    assert scan_folder(tmp_path, [b"absent" + CANARY]).hits == ()


def test_values_that_pages_only_tell_by_their_difference(tmp_path):
    column = pa.array([CANARY[:-2] + b"00", CANARY, CANARY[:-1]] * 30)
    encoding = {"v": "DELTA_BYTE_ARRAY"}
    pq.write_table(
        pa.table({"v": column}), tmp_path / "t", use_dictionary=False, column_encoding=encoding, write_statistics=False
    )
    assert scan_folder(tmp_path, [CANARY]).hits == ("t",)


NUMBERS = [str(47654321 + 7 * i) for i in range(50)]
SIDE_BY_SIDE = {
    "digits": [*NUMBERS, "12345678", *NUMBERS],
    "letters": ["doe", "lovelace", "hopper"] * 9,
    "an address": [
        *(f"b{i}@example.org" for i in range(50)),
        "ada@example.org",
        *(f"x{i}@example.org" for i in range(9)),
    ],
}
SOUGHT = {"digits": b"12345678", "letters": b"lovelace", "an address": b"ada@example.org"}


def numpy_file(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def arrow_file(values, kind=None, **options):
    file = io.BytesIO()
    feather.write_feather(pa.table({"v": pa.array(values, kind)}), file, **options)
    return file.getvalue()


def coded(values, encoding, **options):
    file = io.BytesIO()
    pq.write_table(
        pa.table({"n": range(len(values)), "v": values}),
        file,
        use_dictionary=False,
        column_encoding={"n": "PLAIN", "v": encoding},
        write_statistics=False,
        store_schema=False,
        **options,
    )
    return file.getvalue()


def fixed(values):
    width = max(map(len, values))
    return pa.array([value.ljust(width, "0").encode() for value in values], pa.binary(width))


ADJOINED = {
    "Parquet, lengths first": lambda v: coded(v, "DELTA_LENGTH_BYTE_ARRAY", compression="none"),
    "Parquet, lengths first, compressed": lambda v: coded(v, "DELTA_LENGTH_BYTE_ARRAY", compression="snappy"),
    "Parquet, by difference": lambda v: coded(v, "DELTA_BYTE_ARRAY", compression="none"),
    "Parquet, by difference, compressed": lambda v: coded(v, "DELTA_BYTE_ARRAY", compression="zstd"),
    "Parquet, lists": lambda v: coded(pa.array([[x, x] for x in v]), "PLAIN"),
    "Feather": lambda v: arrow_file(v, compression="uncompressed"),
    "Feather, compressed": lambda v: arrow_file(v, compression="lz4"),
    "Feather, lists": lambda v: arrow_file([[x, x] for x in v], compression="uncompressed"),
    "Feather, structs": lambda v: arrow_file([{"a": x, "b": 1} for x in v], compression="uncompressed"),
    "Feather, a dictionary": lambda v: arrow_file(pa.array(v).dictionary_encode(), compression="uncompressed"),
    "NumPy": lambda v: numpy_file(np.array(v, dtype="S")),
    "NumPy, Unicode": lambda v: numpy_file(np.array(v)),
    "NumPy, fields": lambda v: numpy_file(
        np.array([(x, 1) for x in v], dtype=[("a", f"S{max(map(len, v))}"), ("b", "i4")])
    ),
    "NumPy, packed": lambda v: zipped(numpy_file(np.array(v, dtype="S"))),
}


@pytest.mark.parametrize("kind", ADJOINED)
@pytest.mark.parametrize("what", SIDE_BY_SIDE)
def test_a_value_is_a_word_where_values_are_side_by_side(tmp_path, kind, what):
    (tmp_path / "t").write_bytes(ADJOINED[kind](SIDE_BY_SIDE[what]))
    found = scan_folder(tmp_path, words(SOUGHT[what]))
    assert (found.hits, found.unread) == (("t",), ())
    longer = SOUGHT[what].decode() + {"digits": "9", "letters": "s", "an address": "an"}[what]
    others = [value for value in SIDE_BY_SIDE[what] if value.encode() != SOUGHT[what]] + [longer]
    (tmp_path / "t").write_bytes(ADJOINED[kind](others))
    assert scan_folder(tmp_path, words(SOUGHT[what])).hits == ()


def test_numbers_of_one_width_in_parquet(tmp_path):
    pq.write_table(pa.table({"v": fixed(SIDE_BY_SIDE["digits"])}), tmp_path / "t", use_dictionary=False)
    assert scan_folder(tmp_path, words(b"12345678")).hits == ("t",)


def test_damaged_arrays_are_named_and_numbers_searched_as_they_are(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00\xff\xff damaged")
    (tmp_path / "b.npy").write_bytes(numpy_file(np.zeros(9)) + CANARY)
    (tmp_path / "c.feather").write_bytes(arrow_file(["a"])[:-9])
    found = scan_folder(tmp_path, [CANARY])
    assert (found.hits, [u.partition(":")[0] for u in found.unread]) == (("b.npy",), ["a.npy", "c.feather"])


def test_an_entry_of_a_dictionary_that_no_row_uses(tmp_path):
    """As a writer leaves it that filters rows but keeps dictionaries."""
    column = pa.DictionaryArray.from_arrays(pa.array([0, 0, 2], pa.int32()), pa.array([b"a" * 9, CANARY, b"b" * 9]))
    pq.write_table(pa.table({"v": column}), tmp_path / "t", compression="gzip", store_schema=False)
    assert CANARY not in pq.read_table(tmp_path / "t")["v"].to_pylist()
    assert CANARY not in (tmp_path / "t").read_bytes()
    assert scan_folder(tmp_path, [CANARY]).hits == ("t",)


def test_depth_and_size_are_bounded_and_told(tmp_path, monkeypatch):
    deep = HAY + CANARY
    for _ in range(DEPTH + 1):
        deep = gzip.compress(deep)
    (tmp_path / "deep").write_bytes(deep)
    found = scan_folder(tmp_path, [CANARY])
    assert found.hits == ()
    assert [u.partition(":")[0] for u in found.unread] == ["deep"]
    (tmp_path / "deep").unlink()
    monkeypatch.setattr(search, "_allowance", lambda _: 1 << 20)
    bomb = b"0" * (3 << 20)
    for name, pack in PACKERS.items():
        (tmp_path / name).write_bytes(pack(pack(bomb) if name not in ("tar", "parquet", "npz") else bomb))
    found = scan_folder(tmp_path, [CANARY])
    assert {u.partition(":")[0] for u in found.unread} >= set(PACKERS) - {"parquet"}


@pytest.mark.parametrize("packer", sorted(set(PACKERS) - {"tar"}))
def test_what_is_cut_off_is_told_and_read_as_far_as_it_goes(tmp_path, packer):
    noise = np.random.default_rng(0).bytes(300_000)
    content = PACKERS[packer](noise)
    (tmp_path / "cut").write_bytes(content[: len(content) * 2 // 3])
    found = scan_folder(tmp_path, [CANARY])
    assert [u.partition(":")[0] for u in found.unread] == ["cut"]
    (tmp_path / "cut").write_bytes(content + CANARY)
    assert scan_folder(tmp_path, [CANARY]).hits == ("cut",), "bytes after the end"


def test_a_copy_under_another_name_is_found_by_its_digest(tmp_path):
    digest = hashlib.sha256(HAY).hexdigest()
    (tmp_path / "copy").write_bytes(HAY)
    (tmp_path / "packed.tar.gz").write_bytes(gzip.compress(tarred(HAY)))
    (tmp_path / "other").write_bytes(HAY + b".")
    assert scan_folder(tmp_path, [], [digest]).hits == ("copy", "packed.tar.gz")
    assert scan_folder(tmp_path, [CANARY]).hits == ()


@pytest.mark.parametrize("kind", ["parquet", "zip"])
def test_a_copy_of_what_is_packed_itself_is_found_by_its_digest(tmp_path, kind):
    if kind == "parquet":
        pq.write_table(pa.table({"v": ["a", "b"]}), tmp_path / "copy")
    else:
        with zipfile.ZipFile(tmp_path / "copy", "w") as archive:
            archive.writestr("member", HAY)
    digest = hashlib.sha256((tmp_path / "copy").read_bytes()).hexdigest()
    assert scan_folder(tmp_path, [], [digest]).hits == ("copy",)


def test_pages_of_databases_are_counted_and_rows_read_across_pages(tmp_path):
    long = b"".join(b"%07d" % i for i in range(4000))
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute('CREATE TABLE "odd "" name" (v)')
        connection.execute('INSERT INTO "odd "" name" VALUES (?)', (long.decode(),))
        connection.commit()
        wal = scan_folder(tmp_path, [b"absent!"])
        assert wal.pages > 7, "pages in the log count too"
    connection.close()
    page = 4096
    found = scan_folder(tmp_path, [long[i : i + 60] for i in range(0, len(long) - 60, 61)])
    assert (found.hits, found.pages) == (("a.db",), (tmp_path / "a.db").stat().st_size // page)
    for start in range(0, len(long) - 60, 997):  # any one piece, wherever a page ends
        assert scan_folder(tmp_path, [long[start : start + 60]]).hits == ("a.db",)
    (tmp_path / "a.db").write_bytes((tmp_path / "a.db").read_bytes()[:5000])
    assert scan_folder(tmp_path, [CANARY]).unread


def test_links_are_followed_once_and_odd_files_do_not_stop_it(tmp_path):
    import os

    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x").write_bytes(CANARY)
    root = tmp_path / "root"
    root.mkdir()
    (root / "loop").symlink_to(root)
    (root / "there").symlink_to(tmp_path / "outside")
    (root / "broken").symlink_to(tmp_path / "nowhere")
    os.mkfifo(root / "fifo")
    assert scan_folder(root, [CANARY]).hits == ("there/x",)


@given(
    st.binary(max_size=400),
    st.lists(st.binary(min_size=1, max_size=12), max_size=8),
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 12)), max_size=4),
)
def test_the_search_for_many_needles_agrees_with_one_by_one(window, needles, cuts):
    needles = [*needles, *(window[a : a + n] for a, n in cuts if window[a : a + n])]
    for some in (needles, *([n] for n in needles)):
        assert Search(some).find(window) == any(n in window for n in some)


@given(st.text(min_size=6, max_size=20), st.binary(max_size=5), st.binary(max_size=5))
def test_spellings_are_found_in_what_others_write(text, before, after):
    import json
    from urllib.parse import quote

    needle = text.encode()
    search = Search(spellings(needle))
    for written in (
        before + needle + after,
        base64.b64encode(before + needle + after),
        json.dumps({"v": text}).encode(),
        text.encode("utf-16-le"),
        quote(text, safe="").encode(),
    ):
        assert search.find(written)
