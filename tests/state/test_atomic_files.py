"""A file is wholly there or not at all, and nothing else is left beside it."""

import json
import os

import pytest

from workbench.state.atomic_files import file_sha256, remove, sha256, strict_json, write_atomic


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_is_written_with_its_mode_and_replaced_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "file"
    write_atomic(path, b"one", mode=0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"one", 0o600)
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(path.parent) == ["file"]


@pytest.mark.parametrize("step", ["fsync", "replace", "write"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_no_part(tmp_path, monkeypatch, step, error):
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def fail(*_, **__):
        raise error("no space left")

    if step == "write":
        content = memoryview(b"new")
        content.release()  # writing a released buffer raises
        error = ValueError
    else:
        content = b"new"
        monkeypatch.setattr(*{"fsync": (os, "fsync", fail), "replace": ("pathlib.Path.replace", fail)}[step])
    with pytest.raises(error):
        write_atomic(path, content)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_folder_in_the_way_is_an_error_and_leaves_no_part(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomic(tmp_path / "file", b"x")
    assert names(tmp_path) == ["file"]


def test_numbers_that_json_lacks_are_null():
    text = strict_json({"a": [float("nan"), 1.5], "b": {"c": float("-inf")}, "d": (1, "NaN", None, True)})
    assert json.loads(text) == {"a": [None, 1.5], "b": {"c": None}, "d": [1, "NaN", None, True]}
    assert "NaN" not in text.replace('"NaN"', "")


def test_removing_twice_is_fine(tmp_path):
    write_atomic(tmp_path / "file", b"x")
    remove(tmp_path / "file")
    remove(tmp_path / "file")
    assert names(tmp_path) == []


def test_the_digests_are_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert sha256(b"abc") == file_sha256(tmp_path / "file") == known
