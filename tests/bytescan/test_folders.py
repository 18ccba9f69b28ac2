"""The byte scan finds a needle in any file, in its name, across chunks, and nothing where there is none."""

import pytest

from workbench.bytescan import archives as search
from workbench.bytescan.folders import holds, scan_folder


def test_hits_are_named_and_files_counted(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.bin").write_bytes(b"\x00canary\xff")
    (tmp_path / "clean").write_bytes(b"cana ry")
    (tmp_path / "empty").touch()
    (tmp_path / "a canary.txt").touch()
    found = scan_folder(tmp_path, [b"other", b"canary"])
    assert (found.hits, found.files) == (("a canary.txt", "deep/er/a.bin"), 4)
    assert scan_folder(tmp_path, [b"other"]).hits == ()
    assert scan_folder(tmp_path, []).hits == ()


@pytest.mark.parametrize("offset", range(9))
def test_a_needle_across_chunks_is_found(tmp_path, monkeypatch, offset):
    monkeypatch.setattr(search, "_CHUNK", 8)
    (tmp_path / "file").write_bytes(b"." * (8 + offset) + b"canary" + b"." * 20)
    assert holds(tmp_path / "file", [b"canary", b"y....z"])
    assert not holds(tmp_path / "file", [b"canaryy", b"canar."])


@pytest.mark.parametrize("length", [1024, 1025, 5_000, 70_000])
def test_a_needle_of_any_length_is_found_whole(tmp_path, length):
    needle, other = b"ab\x00" * (length // 3) + b"y", b"ab\x00" * (length // 3) + b"z"
    (tmp_path / "file").write_bytes(b"." * 7 + needle + b"." * 7)
    assert holds(tmp_path / "file", [needle])
    assert not holds(tmp_path / "file", [other])
    assert holds(tmp_path / "file", [other, needle])


def test_a_needle_longer_than_a_chunk_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "_CHUNK", 3)
    (tmp_path / "file").write_bytes(b"..a long canary..")
    assert holds(tmp_path / "file", [b"a long canary"])
    assert holds(tmp_path / "file", [b"."])
