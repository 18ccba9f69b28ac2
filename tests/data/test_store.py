"""Bucket files: read in full or by interval, dropped from by subject, and refused once they are not what was written."""

import shutil

import numpy as np
import pytest
from conftest import pupils
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.data.bucket_file import seal_key
from workbench.data.files import LocalFiles
from workbench.data.identity import canonical, identify
from workbench.data.ingest_table import KeyRing, ingest_table
from workbench.data.objects import Objects
from workbench.data.partition import LINE
from workbench.data.store import BUCKET_BITS, Store, bucket_of
from workbench.errors import InputError
from workbench.schema import read_schema

KEY = seal_key(b"p" * 32)
RING = KeyRing(b"t" * 32, b"p" * 32, "pupil-number", "i")


@pytest.fixture(scope="module")
def written(tmp_path_factory, pupils_files):
    folder = tmp_path_factory.mktemp("store")
    (folder / "raw").mkdir()
    schema = read_schema(pupils_files[0])
    stored = ingest_table(
        "pupils", schema, [([pupils(200)], None)], RING, staging=folder / "raw", target=folder / "data"
    )
    return Store("pupils", LocalFiles(folder / "data"), schema, stored.digests)


@pytest.fixture
def store(written, tmp_path):
    shutil.copytree(written.files.folder, tmp_path / "data")
    return Store("pupils", LocalFiles(tmp_path / "data"), written.schema, written.digests)


def place(key):
    ids = identify([canonical(key)], identity_type="pupil-number", token_key=RING.token, placement_key=RING.placement)
    return ids.tokens[0], int(ids.points[0])


def keys_of(store, split):
    return [k for k in (f"pupil-{i}" for i in range(1000, 1200)) if split in store.splits_of(*place(k))]


edges = st.integers(0, LINE) | st.integers(0, 1 << BUCKET_BITS).map(lambda b: b << (64 - BUCKET_BITS))


@given(edges, edges, st.sampled_from(["train", "holdout"]))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_interval_is_the_whole_filtered(written, a, b, split):
    low, high = sorted((a, b))
    if low == high:
        return
    whole, part = written.read(split), written.read(split, (low, high))
    expected = whole.rows(np.array([low <= int(p) < high for p in whole.points], dtype=bool))
    np.testing.assert_array_equal(part.values, expected.values)
    np.testing.assert_array_equal(part.points, expected.points)
    np.testing.assert_array_equal(part.slice_points, expected.slice_points)


def test_an_interval_holds_its_left_end_and_not_its_right(written):
    points = [int(p) for p in np.unique(written.read("train").points)]
    low, high = points[3], points[9]
    assert np.unique(written.read("train", (low, high)).points).tolist() == points[3:9]


def test_the_splits_hold_every_row_once(written):
    frame = pupils(200)
    splits = {split: written.read(split) for split in ("train", "holdout")}
    assert sum(map(len, splits.values())) == len(frame)
    assert sum(written.count_subjects(s) for s in splits) == frame["pupil"].nunique()
    assert len(keys_of(written, "train")) == written.count_subjects("train")
    assert all((np.diff(d.points.astype(object)) >= 0).all() for d in splits.values()), "canonical order"


def drop(store, split, bucket, tokens):
    """Takes subjects out of a bucket; returns the digest of its new file, None where nothing is left."""
    table = store.without(split, bucket, tokens)
    return None if table is None else store.put(table, KEY)


def swept(store):
    """Deletes what is not read."""
    for stray in store.strays():
        store.files.delete(stray)


def test_drop_removes_the_named_and_nobody_else(store):
    key = keys_of(store, "train")[0]
    token, point = place(key)
    bucket = int(bucket_of(np.array([point], dtype=np.uint64))[0])
    before = store.read("train")
    digest = drop(store, "train", bucket, [token])
    after_digests = {k: v for k, v in store.digests.items() if k != ("train", bucket)}
    after = Store("pupils", store.files, store.schema, after_digests | ({("train", bucket): digest} if digest else {}))
    expected = before.rows(before.points != np.uint64(point))
    assert len(expected) == len(before) - (pupils(200)["pupil"] == key).sum()
    np.testing.assert_array_equal(after.read("train").values, expected.values)
    assert after.splits_of(token, point) == ()
    assert drop(after, "train", bucket, [token]) == digest, "dropping who is gone changes nothing"
    swept(after)
    assert token not in b"".join(p.read_bytes() for p in store.files.folder.rglob("*") if p.is_file())
    assert len(after.read("train")) == len(expected)


def test_an_emptied_bucket_has_no_file(store):
    bucket = next(b for s, b in store.digests if s == "train")
    tokens = [place(k)[0] for k in keys_of(store, "train")]
    assert drop(store, "train", bucket, tokens) is None
    gone = store.file_of("train", bucket)
    after = Store(
        "pupils", store.files, store.schema, {k: d for k, d in store.digests.items() if k != ("train", bucket)}
    )
    assert after.strays() == [gone]
    swept(after)
    assert not store.files.exists(gone)
    store.files.delete(gone)  # also when it is gone already


def test_dropping_needs_tokens_not_luck(store):
    (split, bucket), digest = next(iter(store.digests.items()))
    assert drop(store, split, bucket, [b"\x00" * 16]) == digest
    assert drop(store, split, bucket, []) == digest


@pytest.mark.parametrize("damage", ["missing", "empty", "flipped", "swapped", "folder"])
def test_a_bucket_that_is_not_what_was_written_is_refused(store, damage):
    (one, two) = [store.files.path(store.file_of(*place)) for place in list(store.digests)[:2]]
    content = bytearray(one.read_bytes())
    one.unlink()
    if damage == "empty":
        one.touch()
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
        one.write_bytes(content)
    elif damage == "swapped":
        shutil.copy(two, one)
    elif damage == "folder":
        one.mkdir()
    with pytest.raises(InputError, match="damaged or missing"):
        store.read("train")


def test_dropping_from_a_file_that_is_no_bucket_is_refused(store):
    split, bucket = next(iter(store.digests))
    path = store.files.path(store.file_of(split, bucket))
    for content in (b"", b"x" * 100, path.read_bytes()[:-9], path.read_bytes()[:-60] + b"\xff" * 60):
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged or missing"):
            drop(store, split, bucket, [b"\x00" * 16])


def test_objects_are_named_by_their_content(tmp_path):
    objects = Objects(tmp_path)
    digest = objects.put(b"model")
    assert objects.put(b"model") == digest
    assert objects.get(digest) == b"model"
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 1
    objects.path(digest).write_bytes(b"mode!")
    with pytest.raises(InputError, match="damaged or missing"):
        objects.get(digest)
    objects.delete(digest)
    objects.delete(digest)
    with pytest.raises(InputError, match="damaged or missing"):
        objects.get(digest)
    for name in ("", "../" * 20, "A" * 64, digest[:-1], digest + "0", "../" + digest[3:]):
        with pytest.raises(InputError, match="hexadecimal"):
            objects.path(name)
