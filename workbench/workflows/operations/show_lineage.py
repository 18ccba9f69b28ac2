"""What an artifact was derived from, and what was derived from it."""

from __future__ import annotations

from workbench.state import lineage
from workbench.state.roles import open_to_all
from workbench.state.workspace import Workspace
from workbench.workflows.operations.results import ArtifactSummary, LineageResult


@open_to_all
def show_lineage(workspace: Workspace, artifact_id: str) -> LineageResult:
    """The artifact with its ancestors and descendants; raises NotFoundError where there is no such artifact."""
    with workspace.engine.connect() as connection:
        artifact = lineage.get(connection, artifact_id)
        family = {a.id: a for a in lineage.find(connection, dataset=artifact.dataset)}
    parents = {i: [p for p in a.derived_from if p in family] for i, a in family.items()}
    children: dict[str, list[str]] = {i: [] for i in family}
    for child, its_parents in parents.items():
        for parent in its_parents:
            children[parent].append(child)
    return LineageResult(
        **vars(ArtifactSummary.of_artifact(artifact)),
        derived_from=tuple(ArtifactSummary.of_artifact(family[i]) for i in _reachable(artifact_id, parents)),
        derivatives=tuple(ArtifactSummary.of_artifact(family[i]) for i in _reachable(artifact_id, children)),
    )


def _reachable(start: str, edges: dict[str, list[str]]) -> list[str]:
    """Everything reached from `start`, nearest first."""
    found: dict[str, None] = {}
    front = list(edges[start])
    while front:
        found |= dict.fromkeys(front)
        front = [after for node in front for after in edges[node] if after not in found]
    return list(found)
