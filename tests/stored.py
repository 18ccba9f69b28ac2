"""What a workspace of pupils holds."""

from __future__ import annotations

from workbench.data import catalog
from workbench.data.store import Store
from workbench.erasure.locate import locate
from workbench.sisa.ensemble import Manifest
from workbench.workflows.publish import current_versions, read_manifest
from workbench.workspace import Workspace


def ensemble_of(workspace: Workspace) -> str:
    with workspace.engine.connect() as connection:
        return next(iter(current_versions(connection)))


def manifest_of(workspace: Workspace) -> Manifest:
    with workspace.engine.connect() as connection:
        return read_manifest(workspace, current_versions(connection)[ensemble_of(workspace)])


def store_of(workspace: Workspace) -> Store:
    with workspace.engine.connect() as connection:
        return catalog.store(connection, workspace, "pupils")


def placed(workspace: Workspace, split: str) -> list[str]:
    """Keys of pupils whose rows lie in a split."""
    keys = [f"pupil-{number}" for number in range(1000, 1400)]
    return [key for key in keys if any(one.split == split for one in locate(workspace, [("pupils", key)]))]
