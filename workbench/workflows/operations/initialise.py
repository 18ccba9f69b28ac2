"""Making a workspace."""

from __future__ import annotations

from pathlib import Path

from workbench.erasure.keys import create_signing_key
from workbench.state.roles import allowed
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking


@allowed("administer")
def initialise(root: Path) -> Workspace:
    """Makes a workspace at `root`: folders, keys, database and tracking store; what is there already stays."""
    _ = Tracking(root.resolve()).uri  # a path that MLflow can't open is refused before anything is made there
    workspace = Workspace.create(root)
    create_signing_key(workspace.root / "keys")
    Tracking(workspace.root).initialise()
    return workspace
