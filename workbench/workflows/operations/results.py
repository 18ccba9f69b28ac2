"""What the workflows of operations return. Times are ISO 8601 texts in UTC, seconds of wall-clock time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from workbench.workflows.result import Result

if TYPE_CHECKING:
    from workbench.erasure.policy import ErasurePolicy
    from workbench.erasure.verify import Check
    from workbench.jobs.job import Job
    from workbench.state.lineage import Artifact
    from workbench.workflows.erasure.results import HeldBudgets

Stretch = tuple[float, float]  # of the hash line: its two ends, in [0, 1]


# The workspace as a whole


@dataclass(frozen=True, kw_only=True)
class Health(Result):
    """Whether a workspace is healthy, and each thing that was looked at."""

    healthy: bool
    checks: tuple[Check, ...]


@dataclass(frozen=True, kw_only=True)
class JournalEntry(Result):
    """An entry of the journal: what was done, with what its kind says of it, as it is stored, and both digests of the chain."""

    sequence: int
    at: str
    actor: str
    kind: str
    body: Mapping[str, Any]
    previous: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class History(Result):
    """The last entries of the journal, newest first, of so many; `broken_at` is the entry where the chain breaks."""

    broken_at: int | None
    head: str
    length: int
    kinds: tuple[str, ...]
    entries: tuple[JournalEntry, ...]


@dataclass(frozen=True, kw_only=True)
class RetainedData(Result):
    """Something that is kept: whom it may tell of, until when, and how many there are now."""

    what: str
    tells: str
    until: str
    now: int


@dataclass(frozen=True, kw_only=True)
class Excluded(Result):
    """What a search leaves out, and why."""

    what: str
    why: str


@dataclass(frozen=True, kw_only=True)
class ScanResult(Result):
    """The places that hold what was looked for, those that could not be read to their end, and how much was read."""

    summary: str
    clean: bool
    hits: tuple[str, ...]
    unread: tuple[str, ...]
    files: int
    pages: int
    excluded: tuple[Excluded, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class BackupResult(Result):
    """A backup that was written, with its size in bytes and its digest."""

    path: str
    files: int
    bytes: int
    sha256: str
    open_requests: int
    notice: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class RestoreResult(Result):
    """A workspace that was made of a backup: how many people were erased since, and how many charges are new."""

    workspace: str
    files: int
    suppressed: int
    charges: int
    held: HeldBudgets | None
    open_requests: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Revisions(Result):
    """The revision of a database before and after."""

    before: str | None
    after: str | None


@dataclass(frozen=True, kw_only=True)
class Migration(Result):
    """From which revisions to which two databases were brought; by data set, what became of its records."""

    workspace: str
    database: Revisions
    tracking: Revisions
    records: Mapping[str, str]
    changed: bool


@dataclass(frozen=True, kw_only=True)
class BrokenRule(Result):
    """A rule of a column that a table breaks, in so many rows."""

    column: str
    rule: str
    rows: int


# Jobs


@dataclass(frozen=True, kw_only=True)
class JobDetails(Result):
    """A job with its progress in [0, 1]; detail and result are JSON as its kind of work keeps them."""

    job: str
    kind: str
    status: str
    actor: str
    progress: float
    text: str
    created: str
    updated: str
    lost: bool
    cancel: bool
    detail: Mapping[str, Any]
    result: Mapping[str, Any]

    @classmethod
    def of(cls, job: Job) -> Self:
        """Return what is shown of a job."""
        return cls(
            job=job.id,
            kind=job.kind,
            status=job.status,
            actor=job.actor,
            progress=job.progress,
            text=job.text,
            created=job.created,
            updated=job.updated,
            lost=job.lost,
            cancel=job.cancel,
            detail=dict(job.detail),
            result=dict(job.result),
        )


@dataclass(frozen=True, kw_only=True)
class Jobs(Result):
    """All jobs, oldest first."""

    jobs: tuple[JobDetails, ...]


@dataclass(frozen=True, kw_only=True)
class KeptEvaluation(Result):
    """What a job measured of a data set, kept by the id of its evaluation."""

    dataset: str
    evaluation: str


# The demo


@dataclass(frozen=True, kw_only=True)
class DemoEpsilon(Result):
    """Epsilon of the release, what the ledger says is spent, and the budget, all at one delta."""

    release: float | None
    spent: float
    budget: float
    delta: float


@dataclass(frozen=True, kw_only=True)
class DemoAuc(Result):
    """The area under the curve of the ensemble before and after the erasure, and of a model trained on synthetic rows."""

    before: float
    after: float
    on_synthetic: float


@dataclass(frozen=True, kw_only=True)
class DemoSeconds(Result):
    """How long each step took."""

    ingest: float
    synthesize: float
    train: float
    erase: float


@dataclass(frozen=True, kw_only=True)
class DemoRetraining(Result):
    """Seconds of training all shards, and of training again for the erasure; how many times less that is."""

    all_shards_seconds: float
    erasure_seconds: float
    speedup: float | None


@dataclass(frozen=True, kw_only=True)
class DemoShards(Result):
    """How many shards the erasure touched."""

    touched: int
    of: int


@dataclass(frozen=True, kw_only=True)
class DemoVerification(Result):
    """At which level the certificate was verified."""

    level: str
    valid: bool


@dataclass(frozen=True, kw_only=True)
class DemoTampering(Result):
    """Whether the certificate is valid with one bit flipped."""

    valid: bool


@dataclass(frozen=True, kw_only=True)
class DemoRun(Result):
    """What the demo did in a workspace, and where that is."""

    passed: bool
    rows: int
    epsilon: DemoEpsilon
    auc: DemoAuc
    seconds_by_step: DemoSeconds
    retraining: DemoRetraining
    shards: DemoShards
    verify: DemoVerification
    tampered: DemoTampering
    erased_again: str
    release: str
    dataset: str
    generator: str
    ensemble: str
    certificate: str


@dataclass(frozen=True, kw_only=True)
class DemoResult(DemoRun):
    """The demo with its workspace, where that was kept."""

    workspace: str | None
    seconds: float


# What a workspace holds


@dataclass(frozen=True, kw_only=True)
class DatasetSummary(Result):
    """A data set: whose people it holds, by what they are identified, and what nobody has reviewed yet."""

    dataset: str
    population: str
    identity_type: str
    by_row: bool
    target: str | None
    columns: int
    unreviewed: tuple[str, ...]
    policy: ErasurePolicy
    created: str


@dataclass(frozen=True, kw_only=True)
class ModelSummary(Result):
    """The current version of an ensemble, its metrics on the holdout as they are stored: name to value, low, high and n."""

    ensemble: str
    version: int
    dataset: str
    metrics: Mapping[str, Mapping[str, float]]
    stale: bool
    created: str
    artifact: str


@dataclass(frozen=True, kw_only=True)
class PublishedVersion(Result):
    """A version of an ensemble, with the shards that were trained for it and the requests because of which they were."""

    ensemble: str
    version: int
    digest: str
    retrained: tuple[int, ...]
    requests: tuple[str, ...]
    at: str


@dataclass(frozen=True, kw_only=True)
class ModelDetails(ModelSummary):
    """An ensemble with its config, as the manifest holds it, and its versions, newest first."""

    config: Mapping[str, Any]
    versions: tuple[PublishedVersion, ...]


@dataclass(frozen=True, kw_only=True)
class ReleaseSummary(Result):
    """A release, and the generator that it was drawn from."""

    release: str
    generator: str
    kind: str
    dataset: str
    private: bool
    epsilon: float | None
    delta: float | None
    rows: int | None
    created: str


@dataclass(frozen=True, kw_only=True)
class BudgetSummary(Result):
    """A population's budget and the epsilon that is spent at its delta; of a held one at least all of it."""

    population: str
    epsilon: float
    delta: float
    spent: float
    held: bool


@dataclass(frozen=True, kw_only=True)
class AttentionPoint(Result):
    """Something that needs a person's attention, the page where it is looked after, and the request that it is about."""

    level: Literal["error", "warning", "info"]
    text: str
    page: str
    about: str | None


@dataclass(frozen=True, kw_only=True)
class Overview(Result):
    """What a workspace holds, which populations have no budget, and what needs attention."""

    datasets: tuple[DatasetSummary, ...]
    models: tuple[ModelSummary, ...]
    releases: tuple[ReleaseSummary, ...]
    budgets: tuple[BudgetSummary, ...]
    unbudgeted: tuple[str, ...]
    open_requests: int
    attention: tuple[AttentionPoint, ...]


@dataclass(frozen=True, kw_only=True)
class MeasuredFigures(Result):
    """When the figures of a release were measured, on which version of its records, and how many people were left out."""

    at: str
    records_version: int | None
    left_out: int | None


# Lineage


@dataclass(frozen=True, kw_only=True)
class ArtifactSummary(Result):
    """An artifact. From `shard` on its JSON has what its body states alone, be it `null`: `stated` names these fields."""

    INTERNAL: ClassVar[frozenset[str]] = frozenset({"stated"})
    OPTIONAL: ClassVar[tuple[str, ...]] = (
        *("shard", "version", "private", "epsilon", "delta", "rows"),
        *("recipient", "of", "mlflow_run", "stale", "pending"),
    )

    id: str
    kind: str
    dataset: str
    digest: str | None
    path: str | None
    created: str
    shard: int | None = None
    version: int | None = None
    private: bool | None = None
    epsilon: float | None = None
    delta: float | None = None
    rows: int | None = None
    recipient: str | None = None
    of: str | None = None
    mlflow_run: str | None = None
    stale: bool | None = None
    pending: Mapping[str, int] | None = None
    stated: frozenset[str] = frozenset()

    @classmethod
    def of_artifact(cls, artifact: Artifact) -> ArtifactSummary:
        """Return what is shown of an artifact."""
        stated = {key: artifact.body[key] for key in cls.OPTIONAL if key in artifact.body}
        return ArtifactSummary(
            id=artifact.id,
            kind=artifact.kind,
            dataset=artifact.dataset,
            digest=artifact.digest,
            path=artifact.path,
            created=artifact.created,
            **stated,
            stated=frozenset(stated),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the artifact without the optional fields that its body does not state."""
        absent = set(self.OPTIONAL) - self.stated
        return {key: value for key, value in super().to_json().items() if key not in absent}


@dataclass(frozen=True, kw_only=True)
class LineageResult(ArtifactSummary):
    """An artifact with its ancestors and its descendants, nearest first."""

    derived_from: tuple[ArtifactSummary, ...]
    derivatives: tuple[ArtifactSummary, ...]


# The way of records and erasures through an ensemble


@dataclass(frozen=True, kw_only=True)
class TracedVersion(Result):
    """A version that was published because of a request; `now` is the one that stands for it today, if one does."""

    ensemble: str
    version: int
    shards: tuple[int, ...]
    at: str
    now: str | None


@dataclass(frozen=True, kw_only=True)
class TracedRequest(Result):
    """What came of an erasure request, and whether it has a certificate."""

    request: str
    status: str
    datasets: tuple[str, ...]
    certificate: bool
    versions: tuple[TracedVersion, ...]


@dataclass(frozen=True, kw_only=True)
class FedShard(Result):
    """A shard of an ensemble's version that a file of records feeds."""

    id: str
    ensemble: str
    shard: int
    stretch: Stretch


@dataclass(frozen=True, kw_only=True)
class TracedBucket(Result):
    """A file of records: its digest in each split, None where it holds nobody of that, and the shards that it feeds."""

    dataset: str
    bucket: int
    stretch: Stretch
    digests: Mapping[str, str | None]
    shards: tuple[FedShard, ...]


@dataclass(frozen=True, kw_only=True)
class TracedConstituent(Result):
    """The constituent of a shard, by digest and id; without a digest it abstains. `generation` counts its trainings."""

    shard: int
    generation: int
    digest: str | None
    constituent: str


@dataclass(frozen=True, kw_only=True)
class TracedEnsemble(Result):
    """The shards of an ensemble's version, each of so many slices."""

    id: str
    ensemble: str
    slices: int
    shards: tuple[TracedConstituent, ...]


@dataclass(frozen=True, kw_only=True)
class FeedingBucket(Result):
    """A file of training records that feeds a shard."""

    bucket: int
    stretch: Stretch
    digest: str


@dataclass(frozen=True, kw_only=True)
class TracedCheckpoint(Result):
    """The checkpoint after a slice, counted from 0, and whether it is stored."""

    slice: int
    digest: str | None
    stored: bool


@dataclass(frozen=True, kw_only=True)
class TracedTraining(Result):
    """A version for which a shard was trained, and because of which requests."""

    version: int
    requests: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TracedShard(Result):
    """One shard of an ensemble's version: what feeds it, its checkpoints, and when it was trained."""

    id: str
    ensemble: str
    dataset: str
    shard: int
    generation: int
    constituent: str
    stretch: Stretch
    buckets: tuple[FeedingBucket, ...]
    checkpoints: tuple[TracedCheckpoint, ...]
    trained: tuple[TracedTraining, ...]


@dataclass(frozen=True, kw_only=True)
class MlflowPlace(Result):
    """Where MLflow shows an artifact: its run and experiment by id, and name and version of its registered model."""

    run: str | None
    experiment: str | None
    registered: tuple[str, str | int] | None
