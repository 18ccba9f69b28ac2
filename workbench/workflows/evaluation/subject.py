"""What is evaluated, how, and what is found of it: the values that the parts of an evaluation share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from workbench.erasure.left_out import NO_ONE, LeftOut
from workbench.errors import InputError, NotFoundError
from workbench.metrics.measure import Measure
from workbench.reports.evaluation_document import Fact
from workbench.state import journal, lineage
from workbench.state.lineage import Artifact
from workbench.state.roles import internal
from workbench.state.workspace import Workspace

ROWS = 50_000


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to evaluate: at most about so many rows of each table, by which seed, and with shadow releases or without."""

    seed: int = 0
    rows: int = ROWS
    shadow: bool = False


DEFAULTS = Settings()


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was found of a thing; `facts` are known without measuring, `sampled` how much of the tables was looked at.

    `left_out` counts what was not used, because people wait for their erasure.
    """

    facts: Mapping[str, Fact]
    measures: list[Measure]
    pictures: Mapping[str, Any] = field(default_factory=dict)
    sampled: Mapping[str, Fact] = field(default_factory=dict)
    method: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Thing:
    """What is to be evaluated: its kind, its name, its data set, and the artifacts it is or was made of.

    `left_out` are the people who wait for their erasure: their records are not looked at, and no shard that learnt from them.
    """

    kind: str
    name: str
    dataset: str
    artifacts: tuple[Artifact, ...]
    left_out: LeftOut = NO_ONE

    @property
    def evaluation(self) -> str:
        """The name of its evaluation in the lineage."""
        return f"{self.name}-evaluation" if self.kind != "erasure" else f"{self.name}-{self.dataset}-evaluation"


@internal
def sampled(factor: float) -> dict[str, Fact]:
    """What is said of tables of which a part was looked at; nothing where that was the whole."""
    return {"one row in": round(factor, 2), "drawn by": "subject, stratified by the target"} if factor > 1 else {}


@internal
def find_thing(workspace: Workspace, name: str, dataset: str | None) -> Thing:
    with workspace.engine.connect() as connection:
        artifacts = lineage.find(connection)
        made = [a for a in artifacts if a.id in (name, f"{name}-release") and a.kind == "release"]
        versions = [a for a in artifacts if a.kind == "ensemble" and name in (a.id, a.body["ensemble"])]
        if made:
            return Thing(kind="release", name=made[0].id, dataset=made[0].dataset, artifacts=tuple(made))
        if versions:
            last = max(versions, key=lambda a: int(a.body["version"]))
            return Thing(kind="ensemble", name=last.id, dataset=last.dataset, artifacts=(last,))
        published = _published(connection, name)
        touched = [a for a in artifacts if a.kind == "ensemble" and a.body["ensemble"] in published]
    datasets = sorted({a.dataset for a in touched if dataset in (None, a.dataset)})
    if not published:
        raise NotFoundError(
            f"{name} is no release, no ensemble and no erasure that trained a model again",
            hint="workbench lineage DATASET",
        )
    if len(datasets) != 1:
        told = f"it concerns {', '.join(datasets)}" if datasets else "none of its ensembles is left"
        raise InputError(f"an erasure is evaluated on one data set; {told}", hint="--dataset NAME")
    mine = tuple(a for a in touched if a.dataset == datasets[0])
    return Thing(kind="erasure", name=name, dataset=datasets[0], artifacts=mine)


def _published(connection: Connection, request: str) -> set[str]:
    """The ensembles of which a request made a version."""
    published = journal.entries(connection, "PUBLISHED")
    return {body["ensemble"] for _, body in published if request in body["requests"]}
