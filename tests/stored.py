"""What a workspace of pupils holds."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from workbench.data import catalog
from workbench.data.identity import identify
from workbench.data.store import Split, Store
from workbench.sisa.ensemble import Manifest
from workbench.state.workspace import Workspace
from workbench.workflows.training.publish_version import current_versions, read_manifest

_PLACED: dict[tuple[object, ...], list[str]] = {}


def ensemble_of(workspace: Workspace) -> str:
    with workspace.engine.connect() as connection:
        return next(iter(current_versions(connection)))


def manifest_of(workspace: Workspace) -> Manifest:
    with workspace.engine.connect() as connection:
        return read_manifest(workspace, current_versions(connection)[ensemble_of(workspace)])


def store_of(workspace: Workspace) -> Store:
    with workspace.engine.connect() as connection:
        return catalog.store(connection, workspace, "pupils")


def placed(workspace: Workspace, split: Split) -> list[str]:
    """Keys of pupils with rows in a split, in the order of their numbers."""
    store, keys = store_of(workspace), [f"pupil-{number}" for number in range(1000, 1400)]
    state = (workspace.key("token"), split, *sorted(store.digests.items()))
    if state not in _PLACED:  # copies of one workspace hold the same, and nearly every test asks
        ids = identify(keys, identity_type="pupil-number", token_key=state[0], placement_key=workspace.key("placement"))
        held = {token for token, _, _ in store.subjects(split)}
        _PLACED[state] = [key for key, token in zip(keys, ids.tokens, strict=True) if token in held]
    return list(_PLACED[state])


def predicate(certificate: str) -> dict[str, Any]:
    """What a certificate states."""
    found: dict[str, Any] = json.loads(base64.b64decode(json.loads(Path(certificate).read_text())["payload"]))
    statement: dict[str, Any] = found["predicate"]
    return statement
