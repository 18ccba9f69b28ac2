"""Manifests survive their file and nothing else does; votes are the mean of those who may vote."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.sisa.ensemble import Constituent, Manifest, aggregate, constituent_id, parse_manifest, usable

digests = st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex)
constituents = st.builds(
    Constituent,
    shard=st.integers(0, 65_535),
    generation=st.integers(1, 10**6),
    checkpoints=st.lists(digests, min_size=1, max_size=4).map(tuple),
    sizes=st.lists(st.integers(0, 10**9), max_size=4).map(tuple),
)
manifests = st.builds(
    Manifest,
    ensemble=st.text(max_size=20),
    version=st.integers(1, 10**9),
    dataset=st.text(max_size=20),
    config=st.dictionaries(
        st.text(max_size=5), st.integers() | st.floats(allow_nan=False) | st.text(max_size=5), max_size=4
    ),
    schema=st.text(max_size=8),
    constituents=st.lists(constituents, max_size=4).map(tuple),
)


def manifest(*digests, version=1):
    shards = tuple(Constituent(shard=i, generation=1, checkpoints=(d,)) for i, d in enumerate(digests))
    config = {"learner": "gradient_boosting", "dataset": "d", "shards": len(digests), "slices": 1}
    return Manifest(ensemble="e", version=version, dataset="d", config=config, schema="s", constituents=shards)


@given(manifests)
def test_a_manifest_comes_back_from_its_bytes(drawn):
    again = parse_manifest(drawn.to_bytes())
    assert again == drawn
    assert (again.to_bytes(), again.digest) == (drawn.to_bytes(), drawn.digest)


@given(manifests, manifests)
def test_different_manifests_have_different_digests(one, two):
    assert (one.digest == two.digest) == (one == two)


WHOLE = json.loads(manifest("a", "b").to_bytes())
DAMAGED = {
    "empty": b"",
    "not JSON": b"{",
    "not UTF-8": b"\xff\xfe{}",
    "a list": b"[]",
    "a number": b"3",
    **{
        f"without {key}": json.dumps({k: v for k, v in WHOLE.items() if k != key}).encode()
        for key in WHOLE
        if key != "aggregation"
    },
    "an unknown field": json.dumps(WHOLE | {"evil": 1}).encode(),
    "constituents of numbers": json.dumps(WHOLE | {"constituents": [1]}).encode(),
    "a constituent without a shard": json.dumps(
        WHOLE | {"constituents": [{"generation": 1, "checkpoints": []}]}
    ).encode(),
    "cut": manifest("a", "b").to_bytes()[:-5],
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_manifest_is_refused(case):
    with pytest.raises(InputError, match="damaged"):
        parse_manifest(DAMAGED[case])


def test_a_successor_keeps_every_other_constituent():
    old = manifest("a", "b", None)
    new = Constituent(shard=1, generation=2, checkpoints=("n",))
    after = old.successor({1: new})
    assert after.constituents == (old.constituents[0], new, old.constituents[2])
    assert (after.version, after.id, old.id) == (2, "e@2", "e@1")
    assert (after.objects(), old.objects()) == ({"a", "n"}, {"a", "b"})
    assert after.digest != old.digest
    assert old.successor({}).constituents == old.constituents
    assert constituent_id("e", new) == "e/shard-1.2"


def test_only_trained_and_unquarantined_shards_may_answer():
    ensemble = manifest("a", None, "c", "d")
    assert [c.shard for c in usable(ensemble, ())] == [0, 2, 3]
    assert [c.shard for c in usable(ensemble, {0, 3, 17})] == [2]
    assert usable(ensemble, {0, 2, 3}) == ()


VOTES = [np.array([[0.2, 0.8], [1.0, 0.0]]), np.array([[0.6, 0.4], [0.5, 0.5]]), np.array([[0.1, 0.9], [0.3, 0.7]])]


def test_the_vote_is_the_mean():
    np.testing.assert_allclose(aggregate(VOTES, "mean of probabilities"), [[0.3, 0.7], [0.6, 0.4]])
    np.testing.assert_array_equal(aggregate(VOTES[:1], "mean of probabilities"), VOTES[0])
    np.testing.assert_allclose(aggregate([np.array([[1.0]]), np.array([[2.0]])], "mean of probabilities"), [[1.5]])


def test_logits_are_averaged_and_nobody_has_a_veto():
    inner = [votes[:1] for votes in VOTES]
    logit = np.mean([np.log(v[0, 1] / v[0, 0]) for v in inner])
    np.testing.assert_allclose(
        aggregate(inner, "mean of logits"), [[1 / (1 + np.exp(logit)), 1 / (1 + np.exp(-logit))]]
    )
    certain = np.array([[1.0, 0.0]])
    told = aggregate([certain, *[np.array([[0.01, 0.99]])] * 9], "mean of logits")
    assert told[0, 1] > 0.9
    np.testing.assert_allclose(aggregate(VOTES, "mean of logits").sum(axis=1), 1)


def test_a_majority_is_the_share_of_votes_and_a_tie_goes_to_the_class_listed_first():
    three = aggregate(VOTES, "majority")
    np.testing.assert_allclose(three, [[1 / 3, 2 / 3], [2 / 3, 1 / 3]])  # 0.5 : 0.5 is a vote for the first
    assert aggregate(VOTES[:2], "majority")[0].tolist() == [0.5, 0.5]
    assert aggregate(VOTES[:2], "majority").argmax(axis=1).tolist() == [0, 0]


@given(st.integers(1, 5), st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_every_rule_gives_probabilities_and_knows_no_order_of_constituents(n, classes, seed):
    votes = np.random.default_rng(seed).dirichlet([0.3] * classes, (n, 7))
    for rule in ("mean of probabilities", "mean of logits", "majority"):
        told = aggregate(list(votes), rule)
        assert told.shape == (7, classes)
        np.testing.assert_allclose(told.sum(axis=1), 1)
        np.testing.assert_allclose(aggregate(list(votes[::-1]), rule), told, atol=1e-12)
        if n == 1:
            assert (told.argmax(axis=1) == votes[0].argmax(axis=1)).all()


def test_an_unknown_rule_is_refused():
    with pytest.raises(InputError, match="unknown rule"):
        aggregate(VOTES, "loudest")
