"""In which order a learner that goes over rows in batches visits them: by keyed hashes of the rows, never by their places.

So a row that is erased leaves the others where they were in every pass. The hashes need no secret: they are mixed numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from workbench.sisa.shard import Floats, Shard

Keys = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
NOBODY = -1  # in the last batch of a pass, which is filled up


def passes_of(passes: int, slice_number: int, n_slices: int) -> int:
    """How often a slice's training (from 0) goes over the rows so far, at least once.

    With the slices' rows growing evenly, a shard is as much work as `passes` over all of it (Bourtoule et al. 2021, §IV):
    2 passes R / (R + 1) in all, spread evenly.
    """
    total = round(2 * passes * n_slices / (n_slices + 1))
    return max(1, total * (slice_number + 1) // n_slices - total * slice_number // n_slices)


def keys_of(shard: Shard) -> Keys:
    """A number for each row from its subject and its content; equal rows of one subject have the same."""
    keys = _mixed(shard.points.astype(np.uint64))
    for values in (*shard.features.T, shard.target):
        keys = _mixed(keys ^ _bits(values))
    return keys


def order(keys: Keys, seed: int, number: int) -> npt.NDArray[np.intp]:
    """In which order pass `number` under `seed` visits the rows of these keys."""
    salt = _mixed(np.array([(seed << 32) + number], dtype=np.uint64))
    return np.argsort(_mixed(keys ^ salt), kind="stable")


def batches(rows: npt.NDArray[np.intp], size: int) -> Places:
    """The rows in batches [steps, size], the last one filled up with NOBODY."""
    steps = -(-len(rows) // size)
    filled = np.full(steps * size, NOBODY, dtype=np.int64)
    filled[: len(rows)] = rows
    return filled.reshape(steps, size)


def visits(shard: Shard, *, passes: int, size: int) -> Iterator[tuple[int, Places]]:
    """Slice by slice from the shard's first, where there are rows: its number, and the batches of all its passes."""
    keys = keys_of(shard)
    for slice_number in range(shard.first, shard.n_slices):
        seen, seed = shard.seen(slice_number), shard.seed_of(slice_number)
        if len(seen):
            numbers = range(passes_of(passes, slice_number, shard.n_slices))
            orders = [order(keys[seen], seed, number) for number in numbers]
            yield slice_number, np.concatenate([batches(seen[one], size) for one in orders])


def _mixed(numbers: Keys) -> Keys:
    """Each number as one that shares nothing visible with its neighbours' (the finaliser of SplitMix64)."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _bits(values: Floats) -> Keys:
    """The bits of each number; all that are missing have the same, and so have 0 and -0."""
    return np.where(np.isnan(values), np.nan, values + 0.0).view(np.uint64)
