"""Listing and rotating the keys that certificates are signed with."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, select

from workbench.erasure.keys import (
    begin_rotation,
    is_unsettled,
    public_key_path,
    settle_rotation,
    trusted_keys,
    trusted_path,
)
from workbench.errors import InputError
from workbench.state import journal, writing
from workbench.state.roles import allowed, internal, open_to_all
from workbench.state.tables import journal as entries
from workbench.state.workspace import SECRET_KEYS, Workspace
from workbench.workflows.erasure.results import RotatedKey, SigningKey, SigningKeys


@open_to_all
def list_keys(workspace: Workspace) -> SigningKeys:
    """The signing key of today and all before it, by id and public file."""
    folder = settled(workspace)
    current, *earlier = (key.keyid for key in trusted_keys(folder))
    keys = [SigningKey(key=current, current=True, public_key=str(public_key_path(folder)))]
    keys += [SigningKey(key=k, current=False, public_key=str(trusted_path(folder, k))) for k in earlier]
    return SigningKeys(keys=tuple(keys))


@allowed("administer")
def rotate_key(workspace: Workspace, name: str = "signing") -> RotatedKey:
    """Puts a new signing key in the place of the old: its private half goes, its public half stays trusted.

    The journal's entry is the moment it happens: killed before, nothing changed; killed after, the next look finishes it.
    """
    if name == "placement":
        raise InputError("the placement key never rotates: everybody would move to another shard")
    if name != "signing":
        known = ", ".join(("signing", *SECRET_KEYS))
        raise InputError(
            f"the keys are {known}; in this version only signing rotates", hint="workbench keys rotate signing"
        )
    folder = workspace.root / "keys"
    with writing(workspace.engine) as connection:
        settle_rotation(folder, _last_rotation(connection))
        old, new = begin_rotation(folder)
        journal.append(connection, "KEY_ROTATED", old=old, new=new)
    settled(workspace)
    return RotatedKey(key=new, before=old, public_key=str(public_key_path(folder)))


@internal
def settled(workspace: Workspace) -> Path:
    """The folder of keys, once a rotation that was cut off is finished or taken back."""
    folder = workspace.root / "keys"
    if is_unsettled(folder):
        with writing(workspace.engine) as connection:
            settle_rotation(folder, _last_rotation(connection))
    return folder


def _last_rotation(connection: Connection) -> str | None:
    rotated = select(entries.c.body).where(entries.c.kind == "KEY_ROTATED").order_by(entries.c.sequence.desc()).limit(1)
    body = connection.execute(rotated).scalar()
    return str(body["new"]) if body else None
