"""What the workflows of erasure return. Times are ISO 8601 texts in UTC, paths absolute; no value names a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from workbench.privacy.holds import held_note
from workbench.workflows.result import Result

if TYPE_CHECKING:
    from workbench.erasure.plan import EnsemblePlan, ErasurePlan
    from workbench.erasure.policy import ErasurePolicy
    from workbench.erasure.verify import Check
    from workbench.jobs.job import Job
    from workbench.metrics.estimate import Estimate
    from workbench.privacy.holds import Hold
    from workbench.state.lineage import Artifact

Status = str  # of a request: quarantined, planned, executing, verifying, completed, rejected, denied, cancelled, failed
Level = Literal["signature", "workspace", "replay"]  # of a verification, each with those before it


# What became of requests


@dataclass(frozen=True, kw_only=True)
class RetrainedEnsemble(Result):
    """The version that took the place of one that learnt from the person, with its metrics on the holdout by name."""

    ensemble: str
    version: int
    metrics: Mapping[str, Estimate]


@dataclass(frozen=True, kw_only=True)
class ErasedRequest(Result):
    """A request that was carried out and certified, with the shards that held its person; seconds of wall-clock time."""

    request: str
    status: Literal["completed"] = "completed"
    shards: tuple[int, ...]
    certificate: str
    ensembles: tuple[RetrainedEnsemble, ...]
    retrain_seconds: float
    predicted_seconds: float


@dataclass(frozen=True, kw_only=True)
class ErasedRequests(Result):
    """The requests that one job carried out."""

    requests: tuple[ErasedRequest, ...]


@dataclass(frozen=True, kw_only=True)
class Answer(Result):
    """What is answered of one person: of a dry run `planned`, with the shards of all its people. `exit` is the exit code.

    The nonce is for the requester: 32 hexadecimal digits, kept nowhere. `line` is that of the file which named the person.
    """

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"due", "nonce", "reason", "line"})
    INTERNAL: ClassVar[frozenset[str]] = frozenset({"exit"})

    request: str | None
    status: Status
    shards: tuple[int, ...] = ()
    certificate: str | None = None
    due: str | None = None
    nonce: str | None = None
    reason: str | None = None
    exit: int = 0
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class RefusedAnswer(Answer):
    """A person for whom no request was recorded; `reason` names the line of the file, where there is one."""

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"due", "nonce", "line"})

    request: None = None
    status: Status = "rejected"
    reason: str


@dataclass(frozen=True, kw_only=True)
class RequestAnswer(Answer):
    """A recorded request."""

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"line"})

    request: str
    due: str


@dataclass(frozen=True, kw_only=True)
class WaitingAnswer(RequestAnswer):
    """A request under quarantine that waits for what `reason` says; for its window until `not_before`."""

    not_before: str | None


@dataclass(frozen=True, kw_only=True)
class ErasedAnswer(RequestAnswer):
    """A request that this call carried out; seconds of wall-clock time."""

    ensembles: tuple[RetrainedEnsemble, ...]
    retrain_seconds: float
    predicted_seconds: float


@dataclass(frozen=True, kw_only=True)
class ErasureResult(Result):
    """One answer per person; of a dry run also how many people were found, and the plan of each data set."""

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"people", "plan"})

    requests: tuple[Answer, ...]
    people: int | None = None
    plan: tuple[PlannedErasure, ...] | None = None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class DetachedErasure(Result):
    """One answer per person, and the id of the job that carries them out, if anything can be carried out now."""

    requests: tuple[Answer, ...]
    job: str | None
    seconds: float


@dataclass(frozen=True, kw_only=True)
class DetachedJob(Result):
    """A job that a process of its own works on."""

    job: str
    kind: str
    status: str

    @classmethod
    def of(cls, job: Job) -> Self:
        """Return what is shown of a job."""
        return cls(job=job.id, kind=job.kind, status=job.status)


# What an erasure would do


@dataclass(frozen=True, kw_only=True)
class NamedArtifact(Result):
    """An artifact by its id and kind."""

    id: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class PlannedShard(Result):
    """A shard to train again, from a slice (counted from 0) of so many."""

    shard: int
    from_slice: int
    of_slices: int


@dataclass(frozen=True, kw_only=True)
class PlannedEnsemble(Result):
    """What would happen to an ensemble; epsilon and delta are what training it again is charged, where it is private."""

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"epsilon", "delta", "otherwise"})

    ensemble: str
    version: int
    next_version: int
    retrain: tuple[PlannedShard, ...]
    reused: int
    epsilon: float | None = None
    delta: float | None = None
    otherwise: str | None = None
    predicted_seconds: float

    @classmethod
    def of(cls, plan: EnsemblePlan) -> Self:
        """Return what a plan says of one ensemble."""
        manifest = plan.manifest
        is_charged = manifest.config.get("epsilon") is not None and bool(plan.retrain)
        return cls(
            ensemble=manifest.ensemble,
            version=manifest.version,
            next_version=manifest.version + 1,
            retrain=tuple(
                PlannedShard(shard=shard, from_slice=first, of_slices=manifest.partition.n_slices)
                for shard, first in sorted(plan.retrain.items())
            ),
            reused=len(manifest.constituents) - len(plan.retrain),
            epsilon=manifest.config["epsilon"] if is_charged else None,
            delta=manifest.config["delta"] if is_charged else None,
            otherwise="the shards abstain, where the ledger refuses the charge" if is_charged else None,
            predicted_seconds=round(plan.predicted_seconds, 3),
        )


@dataclass(frozen=True, kw_only=True)
class KeptArtifact(NamedArtifact):
    """A generator or what it made, kept because it is differentially private."""

    epsilon: float
    delta: float


@dataclass(frozen=True, kw_only=True)
class RemeasuredGenerator(Result):
    """A private generator to fit again, with what that is charged; `shards` is "2 of 8" where it is sharded."""

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"shards", "noise"})

    id: str
    epsilon: float
    delta: float
    shards: str | None = None
    noise: str | None = None
    otherwise: str = "retired, where the ledger refuses the charge"

    @classmethod
    def of(cls, plan: ErasurePlan, generator: Artifact) -> Self:
        """Return what a plan says of one generator."""
        shards, n_shards = plan.measured_shards(generator), int(generator.body["config"].get("shards", 1))
        return cls(
            id=generator.id,
            epsilon=generator.body["epsilon"],
            delta=generator.body["delta"],
            shards=f"{len(shards)} of {n_shards}" if shards else None,
            noise=f"{n_shards**0.5:.3g} times that of one shard" if shards else None,
        )


@dataclass(frozen=True, kw_only=True)
class RefittedGenerator(Result):
    """A generator that is not private, to fit again."""

    id: str
    otherwise: str = "retired, where what remains is too little to learn from"


@dataclass(frozen=True, kw_only=True)
class NotifiedArtifact(Result):
    """A release or export that left the workspace, and its recipient, where that is known (GDPR Art. 19)."""

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"recipient"})

    id: str
    recipient: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedErasure(Result):
    """What an erasure would do to one data set; seconds of training that are predicted. It names no subject."""

    dataset: str
    rewrite_buckets: int
    ensembles: tuple[PlannedEnsemble, ...]
    purge: tuple[NamedArtifact, ...]
    keep_private: tuple[KeptArtifact, ...]
    remeasure: tuple[RemeasuredGenerator, ...]
    refit: tuple[RefittedGenerator, ...]
    notify: tuple[NotifiedArtifact, ...]
    predicted_seconds: float

    @classmethod
    def of(cls, plan: ErasurePlan) -> Self:
        """Return what operators see of a plan."""
        return cls(
            dataset=plan.dataset,
            rewrite_buckets=len(plan.drops),
            ensembles=tuple(map(PlannedEnsemble.of, plan.ensembles)),
            purge=tuple(NamedArtifact(id=a.id, kind=a.kind) for a in plan.purge),
            keep_private=tuple(
                KeptArtifact(id=a.id, kind=a.kind, epsilon=a.body["epsilon"], delta=a.body["delta"])
                for a in plan.keep
                if a.body["private"]
            ),
            remeasure=tuple(RemeasuredGenerator.of(plan, a) for a in plan.remeasure if a.body["private"]),
            refit=tuple(RefittedGenerator(id=a.id) for a in plan.remeasure if not a.body["private"]),
            notify=tuple(NotifiedArtifact(id=a.id, recipient=a.body.get("recipient")) for a in plan.handed_out),
            predicted_seconds=round(plan.predicted_seconds, 3),
        )


# Requests, and what is decided on them


@dataclass(frozen=True, kw_only=True)
class RequestSummary(Result):
    """A request: its status, what it waits for, and by when the law wants it done."""

    request: str
    status: Status
    approval: str
    received: str
    due: str
    not_before: str | None
    overdue: bool
    completed: str | None
    actor: str
    reason: str | None
    certificate: str | None


@dataclass(frozen=True, kw_only=True)
class Requests(Result):
    """All requests, oldest first."""

    requests: tuple[RequestSummary, ...]


@dataclass(frozen=True, kw_only=True)
class HeldHit(Result):
    """A hit of the byte scan that holds a request. One with a mark can be accepted, by file, offset in bytes and mark."""

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"file", "offset", "mark"})

    place: str
    file: str | None = None
    offset: int | None = None
    mark: str | None = None


@dataclass(frozen=True, kw_only=True)
class TimelineEntry(Result):
    """An entry of the journal about a request."""

    at: str
    kind: str
    actor: str


@dataclass(frozen=True, kw_only=True)
class TouchedEnsemble(Result):
    """An ensemble that a request touches, with how many shards it has; `version` is the one published for the request."""

    ensemble: str
    version: int
    current_version: int
    shards: int
    waiting: tuple[int, ...]
    retrained: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class RequestDetails(RequestSummary):
    """A request with its data sets, the hits that hold it, its timeline, and the ensembles that it touches."""

    datasets: tuple[str, ...]
    hits: tuple[HeldHit, ...]
    timeline: tuple[TimelineEntry, ...]
    ensembles: tuple[TouchedEnsemble, ...]


@dataclass(frozen=True, kw_only=True)
class ApprovedRequest(Result):
    """A request that was approved."""

    request: str
    approval: Literal["given"] = "given"


@dataclass(frozen=True, kw_only=True)
class ExpeditedRequest(Result):
    """A request that waits for no window any more."""

    request: str
    not_before: None = None


@dataclass(frozen=True, kw_only=True)
class WithdrawnRequest(Result):
    """A request that is over before it was begun."""

    request: str
    status: Literal["denied", "cancelled"]


@dataclass(frozen=True, kw_only=True)
class DatasetPolicy(Result):
    """How a data set's erasures are handled from now on."""

    dataset: str
    policy: ErasurePolicy


@dataclass(frozen=True, kw_only=True)
class AcceptedHit(Result):
    """A hit that a person accepted, at an offset in bytes or as a whole file, and how many are left of the request."""

    request: str
    file: str
    offset: int | None
    left: int


# Evidence and copies


@dataclass(frozen=True, kw_only=True)
class Verification(Result):
    """What holds of a certificate; `superseded_by` is the newest version of its ensembles, where that is newer."""

    valid: bool
    level: Level
    superseded_by: int | None
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class Retirement(Result):
    """An ensemble or a generator that was withdrawn, with all that was removed."""

    retired: str
    dataset: str
    removed: tuple[NamedArtifact, ...]


@dataclass(frozen=True, kw_only=True)
class SigningKey(Result):
    """A key by its id, 64 hexadecimal digits, and the path of its public half."""

    key: str
    current: bool
    public_key: str


@dataclass(frozen=True, kw_only=True)
class SigningKeys(Result):
    """All keys that certificates are verified with: the current one first, the others as they were made."""

    keys: tuple[SigningKey, ...]


@dataclass(frozen=True, kw_only=True)
class RotatedKey(Result):
    """The key that signs from now on, the one before, and the path of the new public half."""

    key: str
    before: str
    public_key: str


@dataclass(frozen=True, kw_only=True)
class ExportedSuppressions(Result):
    """A suppression list that was written, and how many people and charges it holds."""

    path: str
    people: int
    charges: int


@dataclass(frozen=True, kw_only=True)
class HeldBudgets(Result):
    """Why budgets are held: charges may be missing since a time, and since an entry of the journal by its number."""

    known_until: str
    journal_entry: int
    notice: str

    @classmethod
    def of(cls, left: Sequence[Hold]) -> Self | None:
        """Return what the holds that are left mean; None where there are none."""
        note = held_note(left)
        return None if note is None else cls(**note)


@dataclass(frozen=True, kw_only=True)
class ImportedSuppressions(Result):
    """How many people were erased and which charges counted; whether a hold was lifted, and the note of one that is left."""

    suppressed: int
    charges: int
    budgets: tuple[str, ...]
    lifted: bool
    held: HeldBudgets | None


@dataclass(frozen=True, kw_only=True)
class BudgetStatement(Result):
    """What was stated of a population, or of any, and why."""

    population: str | None
    stated: tuple[str, ...]
    reason: str
