"""Manifests survive their file and nothing else does; votes are the mean of those who may vote."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.sisa.ensemble import Constituent, Manifest, constituent_id, parse_manifest, soft_vote, usable

digests = st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex)
constituents = st.builds(
    Constituent,
    shard=st.integers(0, 65_535),
    generation=st.integers(1, 10**6),
    checkpoints=st.lists(digests, min_size=1, max_size=4).map(tuple),
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
    config = {"shards": len(digests), "slices": 1}
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


def test_the_vote_is_the_mean():
    votes = [np.array([[0.2, 0.8], [1.0, 0.0]]), np.array([[0.6, 0.4], [0.5, 0.5]]), np.array([[0.1, 0.9], [0.3, 0.7]])]
    np.testing.assert_allclose(soft_vote(votes), [[0.3, 0.7], [0.6, 0.4]])
    np.testing.assert_array_equal(soft_vote(votes[:1]), votes[0])
    np.testing.assert_allclose(soft_vote([np.array([[1.0]]), np.array([[2.0]])]), [[1.5]])
