"""Shards and slices tile the hash line, and a subject's place depends on nobody else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.data.identity import identify
from workbench.data.partition import LINE, Partition
from workbench.errors import InputError

shards = st.integers(1, 300) | st.sampled_from([4096, 65535, 65536])
points = st.integers(0, LINE - 1)


def array(values):
    return np.array(values, dtype=np.uint64)


@given(shards)
def test_the_intervals_tile_the_line(n):
    partition = Partition(n_shards=n, n_slices=1)
    checked = range(n) if n <= 300 else [0, 1, n // 2, n - 2, n - 1]
    assert partition.interval(0)[0] == 0
    assert partition.interval(n - 1)[1] == LINE
    for shard in checked:
        low, high = partition.interval(shard)
        assert low == -(-shard * LINE // n)
        assert high == -(-(shard + 1) * LINE // n)


@given(shards, st.data())
def test_a_point_lies_in_the_interval_of_its_shard_at_the_edges_too(n, data):
    partition = Partition(n_shards=n, n_slices=1)
    low, high = partition.interval(data.draw(st.integers(0, n - 1)))
    for point in (low, high - 1, max(low - 1, 0), min(high, LINE - 1), data.draw(points)):
        shard = int(partition.shard_of(array([point]))[0])
        assert shard == point * n // LINE
        assert partition.interval(shard)[0] <= point < partition.interval(shard)[1]


@given(st.integers(1, 300) | st.just(4096), points)
def test_slices_are_cut_like_shards(n, point):
    assert Partition(n_shards=3, n_slices=n).slice_of(array([point]))[0] == point * n // LINE


@given(st.lists(points, min_size=1, max_size=20), shards, st.data())
def test_nobody_moves_when_others_leave(drawn, n, data):
    partition = Partition(n_shards=n, n_slices=n % 4096 or 1)
    kept = data.draw(st.lists(st.sampled_from(range(len(drawn))), unique=True))
    everyone, some = array(drawn), array([drawn[i] for i in kept])
    np.testing.assert_array_equal(partition.shard_of(everyone)[kept], partition.shard_of(some))
    np.testing.assert_array_equal(partition.slice_of(everyone)[kept], partition.slice_of(some))


def test_equal_points_have_equal_places():
    partition = Partition(n_shards=7, n_slices=5)
    assert len(set(partition.shard_of(array([12345] * 9)).tolist())) == 1


@pytest.mark.parametrize(("n_shards", "n_slices"), [(1, 1), (20, 5), (64, 1), (7, 13)])
def test_shards_are_balanced_within_chance(n_shards, n_slices):
    keys = {"identity_type": "t", "token_key": b"t" * 32, "placement_key": b"p" * 32}
    people = identify([str(i) for i in range(20_000)], **keys)
    partition = Partition(n_shards=n_shards, n_slices=n_slices)
    cells = partition.shard_of(people.points) * n_slices + partition.slice_of(people.slice_points)
    counts = np.bincount(cells, minlength=n_shards * n_slices)
    expected = 20_000 / len(counts)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    freedom = len(counts) - 1
    assert abs(chi_square - freedom) <= 5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("wrong", [(0, 1), (-1, 1), (65_537, 1), (1, 0), (1, 4_097)])
def test_impossible_cuts_are_refused(wrong):
    with pytest.raises(InputError, match="cannot cut"):
        Partition(n_shards=wrong[0], n_slices=wrong[1])
