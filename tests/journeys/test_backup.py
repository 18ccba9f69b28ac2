"""A backup brings a workspace back whole, but for the people who were erased since; and no file can make it do more."""

from __future__ import annotations

import base64
import gzip
import io
import json
import shutil
import stat
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import Answer, pupils
from stored import ensemble_of, manifest_of, placed, store_of
from test_append import differing, in_split
from test_queue import POLICY, count

from workbench.bytescan.folders import scan_folder
from workbench.data.identity import identify
from workbench.erasure.request import submit
from workbench.errors import BusyError, InputError, NotFoundError
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking
from workbench.workflows.erasure import suppressions as listing_people
from workbench.workflows.erasure.decide import set_policy
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.execute import Outcome
from workbench.workflows.erasure.suppressions import export_suppressions
from workbench.workflows.erasure.verify import verify
from workbench.workflows.operations.backup import backup
from workbench.workflows.operations.doctor import doctor
from workbench.workflows.operations.restore import restore
from workbench.workflows.training.predict import predict_frame

FRAME = pupils(5, first=9000).drop(columns=["pupil", "passed"])


def test_a_workspace_comes_back_as_it_was(trained: Workspace, tmp_path: Path) -> None:
    file, ensemble = tmp_path / "b.tar.zst", ensemble_of(trained)
    told = backup(trained, file)
    assert "secret keys" in told.notice
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    answer = predict_frame(trained.root, ensemble, FRAME)
    shutil.rmtree(trained.root)
    restore(tmp_path / "new", file, without=True)
    again = Workspace.open(tmp_path / "new")
    assert predict_frame(again.root, ensemble, FRAME).equals(answer)
    assert doctor(again).healthy
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    with Tracking(again.root).connection(timeout=5) as connection:
        places = connection.execute("SELECT artifact_location FROM experiments").fetchall()
    assert all(place.startswith(f"file://{again.root}/") for (place,) in places)
    for model in again.root.rglob("MLmodel"):
        assert f"workspace: {again.root}\n" in model.read_text()
    result = erase(again, [placed(again, "train")[0]]).requests[0]
    assert verify(again, Path(result.certificate), replay=True).valid


def test_who_was_erased_since_is_not_in_what_is_restored(trained: Workspace, tmp_path: Path) -> None:
    first, second, third = placed(trained, "train")[:3]
    held = placed(trained, "holdout")[0]
    set_policy(trained, "pupils", POLICY, ["approval=required"])  # as it is in the backup: it must not stand in the way
    submit(trained, ["pupils"], third)
    backup(trained, tmp_path / "b.tar.zst")
    set_policy(trained, "pupils", POLICY, [])
    erase(trained, [first, second, held])
    export_suppressions(trained, tmp_path / "list.json")
    listed = base64.b64decode(json.loads((tmp_path / "list.json").read_text())["payload"]).decode()
    assert len(json.loads(listed)["suppressions"]) == 3
    assert not any(key in listed for key in (first, second, held))

    result = restore(tmp_path / "new", tmp_path / "b.tar.zst", suppressions=tmp_path / "list.json")
    again = Workspace.open(tmp_path / "new")
    assert result.suppressed == 3
    assert not any(in_split(again, key, split) for key in (first, second, held) for split in ("train", "holdout"))
    assert in_split(again, third, "train"), "an undecided request stays one"
    assert differing(again) == set(), "every constituent is what training from scratch gives"
    ids = identify(
        [first, second, held],
        identity_type="pupil-number",
        token_key=again.key("token"),
        placement_key=again.key("placement"),
    )
    needles = [*ids.tokens, *(token.hex().encode() for token in ids.tokens)]
    assert scan_folder(again.root, needles).hits == ()
    certificates = list((again.root / "certificates").iterdir())
    assert len(certificates) == 3
    assert all(verify(again, path, replay=True).valid for path in certificates)
    assert count(again, "suppressions") == 3
    assert manifest_of(again).version == 2
    assert len(store_of(again).read("train")) == len(store_of(trained).read("train"))


def test_nothing_is_restored_that_could_not_be_cleared(
    trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, listing, new = tmp_path / "b.tar.zst", tmp_path / "list.json", tmp_path / "new"
    backup(trained, file)
    erase(trained, [placed(trained, "train")[0]])
    export_suppressions(trained, listing)
    with pytest.raises(InputError):
        restore(new, file)
    monkeypatch.setattr(listing_people, "carry_out", lambda *_, **__: Outcome(done={}, failures=()))
    with pytest.raises(InputError, match="1 of 1"):
        restore(new, file, suppressions=listing)
    document = json.loads(listing.read_text())
    for bad in (document | {"payload": document["payload"][4:]}, []):
        listing.write_text(json.dumps(bad))
        with pytest.raises(InputError):
            restore(new, file, suppressions=listing)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name not in ("workspace",)) == ["b.tar.zst", "list.json"]


def test_only_a_new_or_empty_folder_is_restored_into(
    workspace: Workspace, tmp_path: Path, command: Callable[..., Answer]
) -> None:
    file = tmp_path / "b.tar.gz"
    assert command("--workspace", workspace.root, "backup", file, "--json").json["files"] > 5
    for bad in (file, tmp_path / "b.zip", tmp_path / "no" / "b.tar.gz", workspace.root / "data" / "b.tar.gz"):
        assert command("--workspace", workspace.root, "backup", bad, "--json").code == 2
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for target in (tmp_path / "full", workspace.root, file, tmp_path / "no" / "where"):
        assert command("--workspace", target, "restore", file, "--without-suppressions", "--json").code == 2
    with pytest.raises(NotFoundError):
        restore(tmp_path / "new", tmp_path / "none.tar.gz", without=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / ".empty.restoring").mkdir()
    (tmp_path / ".empty.restoring" / "left").write_text("by a kill")
    done = command("--workspace", tmp_path / "empty", "restore", file, "--without-suppressions", "--json").json
    assert done["suppressed"] == 0
    assert doctor(Workspace.open(tmp_path / "empty")).healthy
    listing = command("--workspace", tmp_path / "empty", "suppressions", "export", tmp_path / "l.json", "--json")
    assert listing.json["people"] == 0


def repacked(file: Path, change: Callable[[dict[str, bytes]], list[tuple[tarfile.TarInfo, bytes]]]) -> Path:
    """The backup with other members."""
    with tarfile.open(file) as archive:
        members = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
    out = file.with_name("hostile.tar.gz")
    with tarfile.open(out, "w:gz") as archive:
        for info, content in change(members):
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out


def plain(members: dict[str, bytes]) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(tarfile.TarInfo(name), content) for name, content in members.items()]


def listed_too(members: dict[str, bytes], name: str, **attributes: Any) -> list[tuple[tarfile.TarInfo, bytes]]:
    """One member more, which the list of contents names as if it belonged."""
    import hashlib

    contents = json.loads(members.pop("contents.json"))
    contents["sha256"][name] = hashlib.sha256(b"evil").hexdigest()
    info = tarfile.TarInfo(name)
    for attribute, value in attributes.items():
        setattr(info, attribute, value)
    content = b"evil" if info.isreg() else b""
    return [*plain(members), (info, content), *plain({"contents.json": json.dumps(contents).encode()})]


HOSTILE: dict[str, Callable[[dict[str, bytes]], list[tuple[tarfile.TarInfo, bytes]]]] = {
    "out of the folder": lambda m: listed_too(m, "../evil"),
    "out by a detour": lambda m: listed_too(m, "data/../../evil"),
    "absolute": lambda m: listed_too(m, "/tmp/workbench-evil"),
    "a symbolic link": lambda m: listed_too(m, "data/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "a hard link": lambda m: listed_too(m, "data/link", type=tarfile.LNKTYPE, linkname="keys/token.key"),
    "a device": lambda m: listed_too(m, "data/fifo", type=tarfile.FIFOTYPE),
    "a folder": lambda m: listed_too(m, "data/folder", type=tarfile.DIRTYPE),
    "a foreign file": lambda m: listed_too(m, "evil.py"),
    "a foreign folder": lambda m: listed_too(m, "elsewhere/evil"),
    "a name twice": lambda m: [*plain({"state.db": b"x"}), *plain(m)],
    "not listed": lambda m: [*plain({"data/more": b"x"}), *plain(m)],
    "after the list": lambda m: [*plain(m), *plain({"data/more": b"x"})],
    "changed": lambda m: plain(m | {"keys/token.key": b"0" * 32}),
    "missing": lambda m: plain({k: v for k, v in m.items() if k != "keys/token.key"}),
    "no list": lambda m: plain({k: v for k, v in m.items() if k != "contents.json"}),
    "nested": lambda m: plain(m | {"contents.json": b"[" * 100_000}),
    "nothing": lambda _: [],
}


def test_a_hostile_or_damaged_backup_restores_nothing(workspace: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "b.tar.gz"
    backup(workspace, file)
    for name, change in HOSTILE.items():
        hostile = repacked(file, change)
        with pytest.raises(InputError, match=r"not a whole backup|is nested too deeply"):
            restore(tmp_path / "new", hostile, without=True)
        left = sorted(p.name for p in tmp_path.iterdir())
        assert left == ["b.tar.gz", "hostile.tar.gz", "workspace"], name
        assert not Path("/tmp/workbench-evil").exists()
    for cut in (b"", file.read_bytes()[:-200], b"not an archive", pa.compress(b"x" * 99, codec="gzip", asbytes=True)):
        (tmp_path / "cut.tar.gz").write_bytes(cut)
        with pytest.raises(InputError, match=r"not a whole backup|is nested too deeply"):
            restore(tmp_path / "new", tmp_path / "cut.tar.gz", without=True)
    assert not (tmp_path / "new").exists()


def headers_of(kind: bytes, content: bytes, following: bytes = b"") -> bytes:
    """A compressed archive whose first member is a header of that kind, read before any member is seen."""
    info = tarfile.TarInfo("data/x")
    info.type, info.size = kind, len(content)
    return gzip.compress(info.tobuf() + content + b"\0" * (-len(content) % 512) + following, 1)


MUCH = b"0\n" * (1 << 24)
SPARSE = tarfile.TarInfo("data/x")
SPARSE.size = len(MUCH) + 8
BOMBS = {
    "a long extended header": lambda: headers_of(tarfile.XHDTYPE, MUCH),
    "a long global header": lambda: headers_of(tarfile.XGLTYPE, MUCH),
    "a long name": lambda: headers_of(tarfile.GNUTYPE_LONGNAME, MUCH),
    "a long link": lambda: headers_of(tarfile.GNUTYPE_LONGLINK, MUCH),
    "a map of holes": lambda: headers_of(
        tarfile.XHDTYPE,
        b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n",
        SPARSE.tobuf() + b"8000000\n" + MUCH,
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_the_headers_of_a_hostile_backup_cost_no_memory(name: str, tmp_path: Path) -> None:
    (tmp_path / "bomb.tar.gz").write_bytes(BOMBS[name]())
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"not a whole backup|is nested too deeply"):
            restore(tmp_path / "new", tmp_path / "bomb.tar.gz", without=True)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_backup_waits_for_writers_and_leaves_no_part(
    trained: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trained.lock("pupils"), pytest.raises(BusyError):
        backup(trained, tmp_path / "b.tar.gz")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("workbench.workflows.operations.backup._pack", full)
    with pytest.raises(OSError, match="No space"):
        backup(trained, tmp_path / "b.tar.gz")
    assert [p.name for p in tmp_path.iterdir()] == ["workspace"]


def test_scan_tells_places_and_no_names(
    trained: Workspace, command: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    (trained.root / "releases" / "pupil-1234.gz").write_bytes(gzip.compress(b"x" * 99 + b"pupil-1234"))
    (trained.root / "data" / "half.gz").write_bytes(gzip.compress(b"x" * 9999)[:-9])
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"nobody-here\n\npupil-1234\n")))
    answer = command("--workspace", trained.root, "scan", "--for", "-", "--json")
    assert answer.code == 1
    assert answer.json["hits"] == ["releases/(its name holds it)"]
    assert len(answer.json["unread"]) == 1
    assert answer.json["summary"].startswith("1 hits in ")
    assert answer.json["pages"] > 10
    assert "pupil-1234" not in answer.out
    clean = command("--workspace", trained.root, "scan", "--for", "nobody-here", "--json")
    assert (clean.code, clean.json["clean"]) == (1, False), "what can't be read is not clean"
    (trained.root / "data" / "half.gz").unlink()
    assert command("--workspace", trained.root, "scan", "--for", "nobody-here", "--json").code == 0
    assert command("--workspace", trained.root, "scan", "--json").code == 2
