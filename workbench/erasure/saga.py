"""An erasure under way, as data: what was planned and what each finished step left for the next ones.

Each step is idempotent and its end is one transaction, so a kill anywhere leaves an erasure that goes on from its last
finished step and arrives at the same digests. It names nobody: tokens stay in the quarantine and the vault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, select

from workbench.data.store import Split
from workbench.erasure.plan import ErasurePlan
from workbench.sisa.ensemble import Manifest, parse_manifest
from workbench.state.journal import now
from workbench.state.lineage import Artifact
from workbench.state.tables import erasures

Step = Literal["planned", "dropped", "retrained", "published", "purged", "verified", "shredded"]
LIFTED = (
    "published",
    "purged",
    "verified",
)  # no row of the person is stored and no quarantine left, but what names them


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EnsembleState(_Frozen):
    """One ensemble: its manifest before and, once retrained, after, with the new version's artifacts."""

    before: str
    retrain: dict[int, int]
    touched: dict[str, tuple[int, ...]]
    predicted_seconds: float
    after: str | None = None
    artifacts: tuple[dict[str, Any], ...] = ()
    metrics: dict[str, dict[str, float]] = {}

    @property
    def old(self) -> Manifest:
        """The version that is superseded."""
        return parse_manifest(self.before.encode())

    @property
    def new(self) -> Manifest:
        """The version that takes its place; only once the ensemble was retrained."""
        return parse_manifest((self.after or "").encode())

    @property
    def seconds(self) -> float:
        """What training the affected slices again took."""
        return float(sum(sum(a["body"]["seconds"]) for a in self.artifacts if a["kind"] == "constituent"))


class GeneratorState(_Frozen):
    """A generator to fit again, with its config; once it was, the artifacts in its place, none if retired.

    `shards`: those of a sharded generator that are measured again; none: the whole.
    """

    old: str
    config: dict[str, Any]
    shards: tuple[int, ...] = ()
    artifacts: tuple[dict[str, Any], ...] = ()


class DatasetState(_Frozen):
    """One data set: bucket files to rewrite, ensembles, artifacts to purge and to keep, checkpoints that were removed."""

    drops: tuple[tuple[Split, int], ...]
    ensembles: tuple[EnsembleState, ...]
    purge: tuple[dict[str, Any], ...]
    keep: tuple[dict[str, Any], ...]
    removed: tuple[str, ...] = ()
    remeasure: tuple[GeneratorState, ...] = ()


class Erasure(_Frozen):
    """All that waited together: requests, their data sets, and the checks once the result was verified.

    `held`: its byte scan found something that no step removes. Rows, models and files of the person are gone, so it holds up
    nothing else; it is of one request, and is tried again from time to time (`tried`, in seconds of the clock). `found` says
    what was found, `hits` are what of it can be shown, and `accepted` what a person accepted of it (`Marks.of`); `scans` is
    what each request's certificate says. `people` is how many the verified requests are of; 0 where an earlier release did not
    count them.
    """

    id: str
    step: Step
    requests: tuple[str, ...]
    datasets: dict[str, DatasetState]
    started: float
    checks: tuple[dict[str, Any], ...] = ()
    held: bool = False
    tried: float = 0.0
    found: str = ""
    hits: tuple[dict[str, Any], ...] = ()
    accepted: tuple[dict[str, Any], ...] = ()
    scans: dict[str, dict[str, Any]] = {}
    people: int = 0

    def with_datasets(self, datasets: Mapping[str, DatasetState]) -> Erasure:
        """The same erasure with other data set states."""
        return self.model_copy(update={"datasets": dict(datasets)})

    def without(self, dataset: str, name: str) -> Erasure:
        """The same erasure with nothing left to do for an ensemble or generator that was withdrawn."""
        state = self.datasets[dataset]
        left = {
            "ensembles": tuple(e for e in state.ensembles if e.old.ensemble != name),
            "remeasure": tuple(g for g in state.remeasure if g.old != name),
            "keep": tuple(a for a in state.keep if name not in (a["id"], *a["derived_from"]) or a["kind"] == "export"),
        }
        return self.with_datasets({**self.datasets, dataset: state.model_copy(update=left)})


def dataset_state(plan: ErasurePlan) -> DatasetState:
    """A plan as the state it starts from."""
    return DatasetState(
        drops=tuple(("train" if split == "train" else "holdout", bucket) for split, bucket in sorted(plan.drops)),
        ensembles=tuple(
            EnsembleState(
                before=e.manifest.to_bytes().decode(),
                retrain=dict(e.retrain),
                touched=dict(e.touched),
                predicted_seconds=e.predicted_seconds,
            )
            for e in plan.ensembles
        ),
        purge=tuple(artifact_to_json(a) for a in plan.purge),
        keep=tuple(artifact_to_json(a) for a in plan.keep),
        remeasure=tuple(
            GeneratorState(old=a.id, config=dict(a.body["config"]), shards=plan.measured_shards(a))
            for a in plan.remeasure
        ),
    )


def artifact_to_json(artifact: Artifact) -> dict[str, Any]:
    """An artifact as it is kept in a state."""
    return {**artifact.__dict__, "derived_from": list(artifact.derived_from), "body": dict(artifact.body)}


def create(connection: Connection, erasure: Erasure) -> None:
    """Stores a new erasure, in the caller's write transaction."""
    state = erasure.model_dump(mode="json")
    connection.execute(
        erasures.insert().values(id=erasure.id, step=erasure.step, state=state, created=now(), updated=now())
    )


def save(connection: Connection, erasure: Erasure) -> None:
    """Stores the end of a step, in the caller's write transaction."""
    values = {"step": erasure.step, "state": erasure.model_dump(mode="json"), "updated": now()}
    connection.execute(erasures.update().where(erasures.c.id == erasure.id).values(**values))


def finish(connection: Connection, erasure: Erasure) -> None:
    """Forgets an erasure that is over, in the caller's write transaction."""
    connection.execute(erasures.delete().where(erasures.c.id == erasure.id))


def unfinished(connection: Connection) -> list[Erasure]:
    """Erasures that were begun and are not over, oldest first."""
    rows = connection.execute(select(erasures.c.state).order_by(erasures.c.created)).scalars()
    return [Erasure.model_validate(state) for state in rows]


def find(connection: Connection, erasure_id: str) -> Erasure | None:
    """An unfinished erasure as it stands now; None where it is over."""
    state = connection.execute(select(erasures.c.state).where(erasures.c.id == erasure_id)).scalar()
    return None if state is None else Erasure.model_validate(state)


def in_the_way(connection: Connection) -> list[Erasure]:
    """Unfinished erasures whose data sets wait for them: all but those that are held."""
    return [erasure for erasure in unfinished(connection) if not erasure.held]
