"""What an artifact was derived from, and what was derived from it."""

from __future__ import annotations

from typing import Any

from workbench.state import lineage
from workbench.state.lineage import Artifact
from workbench.state.roles import open_to_all
from workbench.state.workspace import Workspace


@open_to_all
def show_lineage(workspace: Workspace, artifact_id: str) -> dict[str, Any]:
    """The artifact with its ancestors and descendants, as JSON; raises NotFoundError where there is no such artifact."""
    with workspace.engine.connect() as connection:
        artifact = lineage.get(connection, artifact_id)
        family = {a.id: a for a in lineage.find(connection, dataset=artifact.dataset)}
    parents = {i: [p for p in a.derived_from if p in family] for i, a in family.items()}
    children: dict[str, list[str]] = {i: [] for i in family}
    for child, its_parents in parents.items():
        for parent in its_parents:
            children[parent].append(child)
    return {
        **_describe(artifact),
        "derived_from": [_describe(family[i]) for i in _reachable(artifact_id, parents)],
        "derivatives": [_describe(family[i]) for i in _reachable(artifact_id, children)],
    }


def _reachable(start: str, edges: dict[str, list[str]]) -> list[str]:
    """Everything reached from `start`, nearest first."""
    found: dict[str, None] = {}
    front = list(edges[start])
    while front:
        found |= dict.fromkeys(front)
        front = [after for node in front for after in edges[node] if after not in found]
    return list(found)


def _describe(artifact: Artifact) -> dict[str, Any]:
    return {
        "id": artifact.id,
        "kind": artifact.kind,
        "dataset": artifact.dataset,
        "digest": artifact.digest,
        "path": artifact.path,
        "created": artifact.created,
        **{
            key: artifact.body[key]
            for key in (
                "shard",
                "version",
                "private",
                "epsilon",
                "delta",
                "rows",
                "recipient",
                "of",
                "mlflow_run",
                "stale",
                "pending",
            )
            if key in artifact.body
        },
    }
