"""What an erasure will do to one data set: pure, so that a dry run and the real one cannot differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workbench.data.partition import Partition
from workbench.data.store import BUCKET_BITS
from workbench.erasure.locate import ERASED, Subject
from workbench.erasure.policy import ErasurePolicy
from workbench.sisa.ensemble import Constituent, Manifest, constituent_id
from workbench.state.lineage import Artifact

DEFAULT_POLICY = ErasurePolicy()
HANDED_OUT = ("release", "export")  # whoever got one is to be notified of an erasure, GDPR Art. 19


@dataclass(frozen=True, kw_only=True)
class EnsemblePlan:
    """What happens to one ensemble: per affected shard, the first slice (from 0) to train again; per request, its shards."""

    manifest: Manifest
    retrain: Mapping[int, int]
    touched: Mapping[str, tuple[int, ...]]
    predicted_seconds: float


@dataclass(frozen=True, kw_only=True)
class ErasurePlan:
    """What happens to one data set: rows to drop by bucket file, ensembles to retrain, artifacts to purge or to keep.

    `remeasure` are generators among those to purge that are fitted again, private ones where the ledger allows it; `points`
    are where the training subjects are on the hash line.
    """

    dataset: str
    requests: tuple[str, ...]
    drops: Mapping[tuple[str, int], tuple[bytes, ...]]
    ensembles: tuple[EnsemblePlan, ...]
    purge: tuple[Artifact, ...]
    keep: tuple[Artifact, ...]
    remeasure: tuple[Artifact, ...] = ()
    points: tuple[int, ...] = ()

    def measured_shards(self, generator: Artifact) -> tuple[int, ...]:
        """The shards of a sharded generator that held a subject; of one that is not sharded none is told apart."""
        n_shards = int(generator.body["config"].get("shards", 1))
        if n_shards == 1:
            return ()
        places = Partition(n_shards=n_shards, n_slices=1).shard_of(np.array(self.points, dtype=np.uint64))
        return tuple(sorted(set(places.tolist())))

    @property
    def shards(self) -> tuple[int, ...]:
        """The shards that are trained again, over all ensembles."""
        return tuple(sorted({shard for ensemble in self.ensembles for shard in ensemble.retrain}))

    @property
    def predicted_seconds(self) -> float:
        """What training again is expected to take, over all ensembles."""
        return sum(ensemble.predicted_seconds for ensemble in self.ensembles)

    @property
    def handed_out(self) -> tuple[Artifact, ...]:
        """The releases and exports whose recipients are to be notified, whether they are kept or not."""
        return tuple(a for a in (*self.keep, *self.purge) if a.kind in HANDED_OUT)


def plan(
    dataset: str,
    subjects: Sequence[Subject],
    manifests: Sequence[Manifest],
    artifacts: Sequence[Artifact],
    policy: ErasurePolicy = DEFAULT_POLICY,
    bits: int = BUCKET_BITS,
) -> ErasurePlan:
    """The plan for all waiting subjects of a data set at once: one retraining per shard, however many they are.

    `manifests` are the current version of every ensemble of the data set, `artifacts` its live lineage, `bits` those of its
    buckets. Superseded models
    and every evaluation (they read the subject's rows) are purged; differentially private generators and releases stay,
    unless the policy retires them or has them measured again. One whose config is unknown can't be, and is retired. Those
    that are not private are purged, or fitted again, unless all subjects are in the holdout, which no generator reads.
    Exports lie outside, so what is known of them stays: whoever got one is to be notified.

    Where records were appended since a shard was trained (`pending_of` its version), retraining it begins at the first slice
    that either received or loses records: a checkpoint after that has not seen what lies before it in the store. Pending
    shards that hold none of the subjects keep what they are, and stay pending.

    Of a subject who is erased already, by another request, nothing is left to drop or to train again.
    """
    by_id = {artifact.id: artifact for artifact in artifacts}
    ensembles = tuple(_plan_ensemble(manifest, subjects, by_id) for manifest in manifests)
    unread = all(subject.split != "train" for subject in subjects)
    made = [a for a in artifacts if a.kind in ("generator", "release")]
    keep = [a for a in made if _stays(a, policy, unread=unread)]
    gone = _superseded(ensembles) | {a.id for a in made if a not in keep}
    return ErasurePlan(
        dataset=dataset,
        requests=tuple(sorted({subject.request for subject in subjects})),
        drops=_drops(subjects, bits),
        ensembles=ensembles,
        purge=tuple(a for a in artifacts if a.id in gone or a.kind == "evaluation"),
        keep=(*keep, *(a for a in artifacts if a.kind == "export")),
        remeasure=tuple(a for a in made if a not in keep and _is_remeasured(a, policy)),
        points=tuple(subject.point for subject in subjects if subject.split == "train"),
    )


def _drops(subjects: Sequence[Subject], bits: int) -> dict[tuple[str, int], tuple[bytes, ...]]:
    """Return the tokens to drop, by split and bucket file; of people who are erased already there are none."""
    drops: dict[tuple[str, int], tuple[bytes, ...]] = {}
    for subject in subjects:
        if subject.split != ERASED:
            place = (subject.split, subject.point >> (64 - bits))
            drops[place] = (*drops.get(place, ()), subject.token)
    return drops


def _superseded(ensembles: Sequence[EnsemblePlan]) -> set[str]:
    """Return the ids of the versions that get a successor and of the constituents that are trained again."""
    return {e.manifest.id for e in ensembles} | {
        constituent_id(e.manifest.ensemble, c)
        for e in ensembles
        for c in e.manifest.constituents
        if c.shard in e.retrain
    }


def _stays(made: Artifact, policy: ErasurePolicy, *, unread: bool) -> bool:
    """Whether a generator or release is kept; `unread`: no generator has read a row of the subjects."""
    if not made.body["private"]:
        return unread
    return policy.private == "keep_private" or (policy.private == "remeasure" and unread)


def _is_remeasured(made: Artifact, policy: ErasurePolicy) -> bool:
    """Whether an artifact is a generator that is fitted again; one whose config is unknown can't be."""
    return made.kind == "generator" and "config" in made.body and _wants_another_fit(made, policy)


def _wants_another_fit(generator: Artifact, policy: ErasurePolicy) -> bool:
    return policy.private == "remeasure" if generator.body["private"] else policy.nonprivate == "refit"


def pending_of(version: Artifact) -> dict[int, int]:
    """Per shard of an ensemble's version that received records since it was trained: the first slice concerned."""
    return {int(shard): int(first) for shard, first in version.body.get("pending", {}).items()}


def _plan_ensemble(manifest: Manifest, subjects: Sequence[Subject], artifacts: Mapping[str, Artifact]) -> EnsemblePlan:
    trained = [subject for subject in subjects if subject.split == "train"]
    partition = manifest.partition
    shards = partition.shard_of(np.array([s.point for s in trained], dtype=np.uint64))
    slices = partition.slice_of(np.array([s.slice_point for s in trained], dtype=np.uint64))
    retrain: dict[int, int] = {}
    touched: dict[str, set[int]] = {}
    version = artifacts.get(manifest.id)
    pending = pending_of(version) if version else {}
    for subject, shard, first in zip(trained, shards.tolist(), slices.tolist(), strict=True):
        touched.setdefault(subject.request, set()).add(shard)
        earliest = min(first, retrain.get(shard, first), pending.get(shard, first))
        retrain[shard] = manifest.restart(shard, earliest)
    seconds = sum(
        _seconds(artifacts.get(constituent_id(manifest.ensemble, constituent)), constituent, retrain)
        for constituent in manifest.constituents
    )
    return EnsemblePlan(
        manifest=manifest,
        retrain=retrain,
        touched={request: tuple(sorted(shards)) for request, shards in touched.items()},
        predicted_seconds=seconds,
    )


def _seconds(artifact: Artifact | None, constituent: Constituent, retrain: Mapping[int, int]) -> float:
    """What the slices to train again took when they were last trained."""
    if artifact is None or constituent.shard not in retrain:
        return 0.0
    return float(sum(artifact.body["seconds"][retrain[constituent.shard] :]))
