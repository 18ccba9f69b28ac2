"""Small findings that were computed from people's rows and are shown again later: advice on shards, audits of a generator.

They are evaluations without a file: registered in the lineage, internal, and gone with the next erasure of anybody in the data
set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from workbench.erasure.request import refuse_open_request
from workbench.state import lineage, writing
from workbench.state.lineage import Artifact
from workbench.state.roles import internal, open_to_all
from workbench.state.workspace import Workspace
from workbench.workflows.result import Result

Kind = Literal["advice", "audit"]
_NOTHING = "nothing that read its rows is kept"


@dataclass(frozen=True, kw_only=True)
class Finding(Result):
    """What was kept, as the JSON of its result, and the time it was found, in UTC."""

    made: str
    content: Mapping[str, Any]


@internal
def keep(workspace: Workspace, kind: Kind, dataset: str, about: str, content: Mapping[str, Any]) -> str:
    """Keeps what was found about something of a data set, in the place of what was found before; returns its name.

    Raises BusyError where a subject of the data set asked to be erased meanwhile: then nothing is kept.
    """
    artifact = Artifact(
        id=f"{dataset}-{about}-{kind}",
        kind="evaluation",
        dataset=dataset,
        derived_from=[dataset],
        body={"finding": kind, "content": dict(content)},
    )
    with writing(workspace.engine) as connection:
        refuse_open_request(connection, dataset, _NOTHING)
        lineage.remove(connection, [artifact.id])
        lineage.record(connection, artifact)
    return artifact.id


@open_to_all
def findings(workspace: Workspace, kind: Kind) -> list[Finding]:
    """What is kept of a kind, newest first."""
    with workspace.engine.connect() as connection:
        found = [a for a in lineage.find(connection, kind="evaluation") if a.body.get("finding") == kind]
    return [Finding(made=a.created, content=a.body["content"]) for a in reversed(found)]
