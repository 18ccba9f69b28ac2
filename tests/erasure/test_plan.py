"""The plan of an erasure is a pure function: what to drop, what to retrain from where, what to purge and to keep."""

import copy

import pytest

from workbench.data.partition import LINE
from workbench.data.store import BUCKET_BITS
from workbench.erasure.locate import Subject
from workbench.erasure.plan import plan
from workbench.erasure.policy import ErasurePolicy
from workbench.sisa.ensemble import Constituent, Manifest, constituent_id
from workbench.state.lineage import Artifact
from workbench.workflows.erasure.results import PlannedErasure

SHARDS, SLICES = 4, 5


def subject(shard, slice_number, *, name="a", split="train", request="er-1"):
    """A subject in the middle of a shard and a slice of the partition below."""
    point, slice_point = ((2 * i + 1) * LINE // (2 * n) for i, n in ((shard, SHARDS), (slice_number, SLICES)))
    token = name.encode().ljust(16, b".")
    return Subject(request=request, dataset="d", token=token, point=point, slice_point=slice_point, split=split)


def manifest(ensemble="e", shards=SHARDS, slices=SLICES):
    constituents = tuple(
        Constituent(shard=s, generation=1, checkpoints=tuple(f"{ensemble}{s}{r}" for r in range(slices)))
        for s in range(shards)
    )
    config = {"shards": shards, "slices": slices}
    return Manifest(ensemble=ensemble, version=3, dataset="d", config=config, schema="s", constituents=constituents)


def artifact(name, kind, **body):
    return Artifact(id=name, kind=kind, dataset="d", derived_from=["d"], body=body)


def stale(ensemble, **pending):
    """The version of an ensemble whose shards (s0=2: shard 0 from slice 2) received rows since they were trained."""
    return artifact(ensemble.id, "ensemble", stale=True, pending={shard[1:]: first for shard, first in pending.items()})


def lineage_of(*manifests):
    made = [artifact(m.id, "ensemble") for m in manifests]
    made += [
        artifact(constituent_id(m.ensemble, c), "constituent", seconds=[1.0, 2.0, 4.0, 8.0, 16.0])
        for m in manifests
        for c in m.constituents
    ]
    return made


PRIVATE = {"private": True, "epsilon": 1.0, "delta": 1e-5}
OTHERS = [
    artifact("d", "dataset"),
    artifact("g", "generator", **PRIVATE),
    artifact("g-release", "release", **PRIVATE),
    artifact("g-evaluation", "evaluation"),
]

CASES = {
    "one subject": ([subject(1, 3)], {1: 3}),
    "the first slice": ([subject(0, 0)], {0: 0}),
    "the last slice": ([subject(3, 4)], {3: 4}),
    "two in one shard: the earlier slice": ([subject(2, 3), subject(2, 1, name="b"), subject(2, 4, name="c")], {2: 1}),
    "two in one place": ([subject(2, 3), subject(2, 3, name="b")], {2: 3}),
    "two shards": ([subject(0, 4), subject(3, 2, name="b")], {0: 4, 3: 2}),
    "the holdout": ([subject(1, 3, split="holdout")], {}),
    "holdout and training of one shard": ([subject(1, 0, split="holdout"), subject(1, 4, name="b")], {1: 4}),
    "nobody": ([], {}),
}


@pytest.mark.parametrize("case", CASES)
def test_each_touched_shard_is_retrained_once_from_its_first_touched_slice(case):
    subjects, retrain = CASES[case]
    for order in (subjects, subjects[::-1]):
        planned = plan("d", order, [manifest()], [])
        assert planned.ensembles[0].retrain == retrain
        assert planned.shards == tuple(sorted(retrain))
    described = PlannedErasure.of(planned).ensembles[0]
    assert described.reused == SHARDS - len(retrain)
    assert (described.version, described.next_version) == (3, 4)


def test_rows_are_dropped_by_split_and_bucket_also_of_the_holdout():
    same = [subject(1, 3, name="a"), subject(1, 0, name="b")]
    subjects = [*same, subject(1, 3, name="c", split="holdout"), subject(3, 0, name="d", request="er-0")]
    planned = plan("d", subjects, [manifest()], [])
    one, three = (subject(s, 0).point >> (64 - BUCKET_BITS) for s in (1, 3))
    assert planned.drops == {
        ("train", one): (same[0].token, same[1].token),
        ("holdout", one): (subjects[2].token,),
        ("train", three): (subjects[3].token,),
    }
    assert planned.requests == ("er-0", "er-1")


def test_ensembles_of_other_partitions_are_cut_their_own_way():
    planned = plan("d", [subject(3, 4)], [manifest(), manifest("f", shards=2, slices=1)], [])
    assert [e.retrain for e in planned.ensembles] == [{3: 4}, {1: 0}]
    assert planned.shards == (1, 3)


def test_what_saw_the_subject_is_purged_and_what_is_private_is_kept():
    ensemble = manifest()
    artifacts = lineage_of(ensemble) + OTHERS
    planned = plan("d", [subject(1, 3), subject(2, 0, name="b")], [ensemble], artifacts)
    assert {a.id for a in planned.purge} == {"e@3", "e/shard-1.1", "e/shard-2.1", "g-evaluation"}
    assert {a.id for a in planned.keep} == {"g", "g-release"}
    assert PlannedErasure.of(planned).to_json()["keep_private"] == [
        {"id": i, "kind": k, "epsilon": 1.0, "delta": 1e-5} for i, k in (("g", "generator"), ("g-release", "release"))
    ]


def test_a_holdout_subject_purges_versions_and_evaluations_but_no_constituent():
    ensemble = manifest()
    planned = plan("d", [subject(1, 3, split="holdout")], [ensemble], lineage_of(ensemble) + OTHERS)
    assert {a.id for a in planned.purge} == {"e@3", "g-evaluation"}
    assert PlannedErasure.of(planned).predicted_seconds == 0


def test_the_cost_is_that_of_the_slices_to_train_again():
    ensemble = manifest()
    planned = plan("d", [subject(1, 3), subject(2, 0, name="b")], [ensemble], lineage_of(ensemble))
    assert planned.ensembles[0].predicted_seconds == (8 + 16) + (1 + 2 + 4 + 8 + 16)


def test_a_plan_without_models_drops_rows_alone():
    planned = plan("d", [subject(1, 3)], [], OTHERS)
    assert (planned.ensembles, planned.shards, len(planned.drops)) == ((), (), 1)


def test_planning_changes_nothing_and_says_no_token():
    inputs = ("d", [subject(1, 3, name="secret")], [manifest()], lineage_of(manifest()) + OTHERS)
    before = copy.deepcopy(inputs)
    planned = plan(*inputs)
    assert inputs == before
    assert plan(*inputs) == planned
    said = repr(PlannedErasure.of(planned))
    secret = inputs[1][0]
    for value in (b"secret", secret.token.hex(), str(secret.point), str(secret.slice_point)):
        assert str(value) not in said


PENDING = {
    "rows came before the touched slice": ([subject(1, 3)], {"s1": 1}, {1: 1}),
    "rows came after it": ([subject(1, 3)], {"s1": 4}, {1: 3}),
    "rows came into the same slice": ([subject(1, 3)], {"s1": 3}, {1: 3}),
    "of two subjects the earlier, of rows the earliest": (
        [subject(1, 3), subject(1, 2, name="b")],
        {"s1": 0},
        {1: 0},
    ),
    "pending shards without a subject keep what they are": ([subject(1, 3)], {"s0": 0, "s3": 2}, {1: 3}),
    "a subject of the holdout alone retrains nothing": ([subject(1, 3, split="holdout")], {"s1": 0}, {}),
}


@pytest.mark.parametrize("case", PENDING)
def test_a_shard_that_received_rows_is_retrained_from_the_first_slice_concerned(case):
    subjects, pending, retrain = PENDING[case]
    ensemble = manifest()
    artifacts = [stale(ensemble, **pending), *lineage_of(ensemble)[1:]]
    for order in (subjects, subjects[::-1]):
        assert plan("d", order, [ensemble], artifacts).ensembles[0].retrain == retrain


CONFIGURED = artifact("g", "generator", **PRIVATE, config={"epsilon": 1.0, "delta": 1e-5})
RELEASED = artifact("g-release", "release", **PRIVATE)
POLICIES = {
    # policy, generator, split of the subject -> ids kept, ids purged, ids measured again
    "kept": ("keep_private", CONFIGURED, "train", {"g", "g-release"}, set(), set()),
    "retired": ("retire", CONFIGURED, "train", set(), {"g", "g-release"}, set()),
    "measured again": ("remeasure", CONFIGURED, "train", set(), {"g", "g-release"}, {"g"}),
    "made by who knows what": ("remeasure", OTHERS[1], "train", set(), {"g", "g-release"}, set()),
    "of a person it never read": ("remeasure", CONFIGURED, "holdout", {"g", "g-release"}, set(), set()),
}


@pytest.mark.parametrize("case", POLICIES)
def test_a_policy_decides_on_what_is_private(case):
    policy, generator, split, keep, purge, again = POLICIES[case]
    planned = plan("d", [subject(1, 3, split=split)], [], [generator, RELEASED], ErasurePolicy(private=policy))
    assert {a.id for a in planned.keep} == keep
    assert {a.id for a in planned.purge} == purge
    assert {a.id for a in planned.remeasure} == again
    assert [one.id for one in PlannedErasure.of(planned).remeasure] == sorted(again)
