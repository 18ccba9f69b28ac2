"""Signing keys rotate at one moment, whatever kills them, and old certificates stay valid."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from conftest import Answer
from cryptography.hazmat.primitives import serialization
from killing import Killed, killer
from sqlalchemy import select

from workbench.erasure import keys as module
from workbench.erasure.certificate import open_signed, sign
from workbench.erasure.keys import create_signing_key, public_key_path, read_public_key, trusted_keys
from workbench.errors import CheckFailedError, InputError
from workbench.state import journal
from workbench.state.tables import journal as entries
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.signing_keys import list_keys, rotate_key, settled
from workbench.workflows.erasure.verify import verify

PREDICATE = {"request": "er-1", "datasets": [], "removed_checkpoints": [], "environment": {}}


def private(workspace: Workspace) -> bytes:
    return (workspace.root / "keys" / "signing.pem").read_bytes()


def signed_by(workspace: Workspace, certificate: bytes) -> str:
    return open_signed(certificate, trusted_keys(workspace.root / "keys"))[1]


def rotations(workspace: Workspace) -> list[dict[str, str]]:
    with workspace.engine.connect() as connection:
        assert journal.broken_at(connection) is None
        rows = connection.execute(select(entries.c.body).where(entries.c.kind == "KEY_ROTATED"))
        return [dict(body) for body in rows.scalars()]


def test_a_key_is_called_by_the_fingerprint_of_its_public_half(tmp_path: Path) -> None:
    create_signing_key(tmp_path)
    public = serialization.load_pem_public_key(public_key_path(tmp_path).read_bytes())
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    fingerprint = hashlib.sha256(der).hexdigest()
    assert read_public_key(public_key_path(tmp_path)).keyid == fingerprint
    assert json.loads(sign(tmp_path, {}, PREDICATE))["signatures"][0]["keyid"] == fingerprint


def test_certificates_of_earlier_keys_stay_valid_and_say_so(workspace: Workspace, tmp_path: Path) -> None:
    folder, before = workspace.root / "keys", private(workspace)
    old = tmp_path / "old.json"
    old.write_bytes(sign(folder, {}, PREDICATE))
    rotated = rotate_key(workspace)
    assert private(workspace) != before
    assert (folder / "signing.pem").stat().st_mode & 0o777 == 0o600
    assert not any(before in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    new = tmp_path / "new.json"
    new.write_bytes(sign(folder, {}, PREDICATE))
    details = {p: verify(workspace, p).checks[0].detail for p in (old, new)}
    assert details == {
        old: f"signed by an earlier key, {rotated.before}",
        new: f"signed by the current key {rotated.key}",
    }
    only_new = folder / "signing.pub.pem"
    assert verify(None, new, key=only_new).valid
    assert not verify(None, old, key=only_new).valid, "--key restricts to that one"
    assert not verify(workspace, old, key=only_new).checks[0].ok
    assert verify(None, old, key=folder / "trusted" / f"{rotated.before}.pem").valid
    assert rotations(workspace) == [{"old": rotated.before, "new": rotated.key}]
    again = rotate_key(workspace)
    listed = list_keys(workspace).keys
    assert [k.current for k in listed] == [True, False, False]
    assert {k.key for k in listed} == {rotated.before, rotated.key, again.key}
    assert all(read_public_key(Path(k.public_key)).keyid == k.key for k in listed)
    assert signed_by(workspace, old.read_bytes()) == rotated.before


def test_a_stranger_is_never_trusted(workspace: Workspace, tmp_path: Path) -> None:
    create_signing_key(tmp_path)
    forged = sign(tmp_path, {}, PREDICATE)
    rotate_key(workspace)
    with pytest.raises(CheckFailedError):
        signed_by(workspace, forged)
    claimed = json.loads(forged)
    for key in trusted_keys(workspace.root / "keys"):
        claimed["signatures"][0]["keyid"] = key.keyid
        with pytest.raises(CheckFailedError):
            signed_by(workspace, json.dumps(claimed, indent=1).encode())


@pytest.mark.parametrize("late", [False, True])
def test_a_rotation_killed_anywhere_happened_wholly_or_not_at_all(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    folder = workspace.root / "keys"
    for at in count(1):
        before, certificate = private(workspace), sign(folder, {}, PREDICATE)
        done, was = rotations(workspace), trusted_keys(folder)[0].keyid
        killed = _rotate_until(workspace, monkeypatch, at, late)
        meanwhile = sign(folder, {}, PREDICATE)
        assert verify_all(workspace, [certificate, meanwhile]), "also before anybody settled it"
        settled(workspace)
        assert {p.name for p in folder.iterdir() if p.name.startswith("signing")} == {"signing.pem", "signing.pub.pem"}
        now = signed_by(workspace, sign(folder, {}, PREDICATE))
        assert now == trusted_keys(folder)[0].keyid, "the private key and the public file belong together"
        assert verify_all(workspace, [certificate, meanwhile])
        new = rotations(workspace)[len(done) :]
        assert (private(workspace) == before) == (new == [])
        if new:
            assert new == [{"old": was, "new": now}]
        assert len(trusted_keys(folder)) == len(rotations(workspace)) + 1, "no key that never signed is trusted"
        if not killed:
            break
    assert at > 5


def verify_all(workspace: Workspace, certificates: list[bytes]) -> bool:
    return all(signed_by(workspace, certificate) for certificate in certificates)


def _rotate_until(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, at: int, late: bool) -> bool:
    wrapped = killer(at, late=late)
    with monkeypatch.context() as patch:
        for name in ("write_atomic", "remove", "sync"):
            patch.setattr(module, name, wrapped(getattr(module, name)))
        patch.setattr(Path, "rename", wrapped(Path.rename))
        patch.setattr(journal, "append", wrapped(journal.append))
        patch.setattr("workbench.workflows.erasure.signing_keys.settled", wrapped(settled))
        try:
            rotate_key(workspace)
        except Killed:
            return True
    return False


def test_only_the_signing_key_rotates(command: Callable[..., Answer], workspace: Workspace) -> None:
    home = ("--workspace", workspace.root)
    before = {p.name: p.read_bytes() for p in (workspace.root / "keys").glob("*.key")}
    for name in ("placement", "token", "suppression", "../x"):
        assert command(*home, "keys", "rotate", name, "--json").error["code"] == "bad_input"
        with pytest.raises(InputError):
            rotate_key(workspace, name)
    assert command(*home, "keys", "rotate", "--json").json["before"]
    assert len(command(*home, "keys", "list", "--json").json["keys"]) == 2
    assert {p.name: p.read_bytes() for p in (workspace.root / "keys").glob("*.key")} == before
