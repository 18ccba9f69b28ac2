"""The files of fits, generators and releases, found by their names: for those who look at them and make none."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path

from workbench.config import SynthesizeConfig
from workbench.data import catalog
from workbench.state import lineage
from workbench.state.roles import internal
from workbench.state.workspace import Workspace


@internal
def unrecorded(workspace: Workspace, dataset: str) -> list[Path]:
    """Return generators, releases and evaluations of a data set that no artifact names."""
    with workspace.engine.connect() as connection:
        known = {artifact.path for artifact in lineage.find(connection, dataset=dataset)}
    ours = _ours(dataset)
    made = [path for folder in ("generators", "releases") for path in (workspace.root / folder).iterdir()]
    made = [path for path in made if ours.fullmatch(path.name)]
    made += (workspace.root / "evaluations" / dataset).glob("*.json")
    return [path for path in made if str(path.relative_to(workspace.root)) not in known]


@internal
def private_fits(workspace: Workspace) -> set[str]:
    """Return the folders of notes of private fits, relative to the workspace."""
    with workspace.engine.connect() as connection:
        folders = [folder for name in catalog.names(connection) for folder in fits_of(workspace, name)]
    found = set()
    for folder in folders:
        with suppress(OSError, ValueError, KeyError, TypeError):
            about = json.loads((folder / "about.json").read_bytes())
            if SynthesizeConfig.model_validate(about["config"]).private:
                found.add(str(folder.relative_to(workspace.root)))
    return found


@internal
def has_private_fit(workspace: Workspace, dataset: str) -> bool:
    """Return whether a private fit of a data set was cut off, and would go on from the records as they are."""
    paid = private_fits(workspace)
    return any(str(folder.relative_to(workspace.root)) in paid for folder in fits_of(workspace, dataset))


@internal
def fits_of(workspace: Workspace, dataset: str) -> list[Path]:
    """Return the folders of notes of a data set's fits."""
    return sorted(p for p in (workspace.root / "fits").glob(f"{dataset}-*") if _ours(dataset).fullmatch(p.name))


def _ours(dataset: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(dataset)}-[a-z-]+-[0-9a-f]{{6}}(\.parquet)?")
