"""Linkability: two tables that know different things about the same person are joined by the help of the synthetic one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from workbench.data.dataset import Dataset
from workbench.metrics.attacks._tools.attack_split import one_row_each, sides
from workbench.metrics.attacks._tools.mixed_distance import MixedVectors, Singles, distances, placed
from workbench.metrics.attacks._tools.rates import Attack, Hits, attempted, definitions, rated
from workbench.metrics.measure import Measure, Metric, NotComputableError
from workbench.metrics.registry import AttackSpec
from workbench.metrics.tables import Tables
from workbench.schema.codec import Codec, Values

Mask = npt.NDArray[np.bool_]

CONTROLS = 2_000
_ROUNDING = 1e-5
MOST_NEAREST = 10  # a half of a person that fits more rows links to nobody

_DEFINITIONS = definitions(
    "linkability",
    "Linkability of two halves of the columns",
    success=f"a synthetic row is nearest to the person by both halves of the columns, among at most {MOST_NEAREST} by either",
    naive="as many rows as are nearest by either half, drawn at random, have one in common",
    source="Giomi et al. 2023 (Anonymeter), linkability, with all nearest rows instead of the k nearest",
)


def link(tables: Tables) -> list[Measure]:
    """The risk and the rate that both halves of a person lead to one synthetic row, one row of each subject; see `rated`.

    Every other column in the schema's order makes one half, the rest the other. Raises NotComputableError below 2 columns.
    """
    if len(tables.codec.names) < 2:
        raise NotComputableError("not computable because there is but one column: nothing to link it with")
    found, rng = sides(tables, controls=CONTROLS), tables.rng("linkability")
    return rated(_DEFINITIONS, *attempted(found, _by_both(tables.codec, rng), _by_chance(tables.codec, rng)))


def _by_both(codec: Codec, rng: np.random.Generator) -> Attack:
    def attack(release: Values, targets: Dataset) -> Hits:
        people = one_row_each(targets, rng)
        hits = np.empty(len(people), dtype=bool)
        for block, first, second in _nearest(codec, people.values, release):
            hits[block] = _few(first) & _few(second) & (first & second).any(axis=1)
        return hits

    return attack


def _by_chance(codec: Codec, rng: np.random.Generator) -> Attack:
    def attack(release: Values, targets: Dataset) -> Hits:
        people = one_row_each(targets, rng)
        hits = np.empty(len(people), dtype=bool)
        for block, first, second in _nearest(codec, people.values, release):
            # a hypergeometric draw: how many of the rows nearest by one half a draw of the others' number hits
            a, b = first.sum(axis=1), second.sum(axis=1)
            hits[block] = _few(first) & _few(second) & (rng.hypergeometric(a, len(release) - a, b) > 0)
        return hits

    return attack


def _nearest(codec: Codec, people: Values, release: Values) -> Iterator[tuple[slice, Mask, Mask]]:
    """Blocks of people with the masks [b, m] of the release's rows that are nearest by either half."""
    halves = [range(start, len(codec.names), 2) for start in (0, 1)]
    sides_: list[tuple[MixedVectors, MixedVectors]] = [
        (placed(people, codec, without=half), placed(release, codec, without=half)) for half in halves
    ]
    for (block, first), (_, second) in zip(*(distances(*side) for side in sides_), strict=True):
        yield block, _least(first), _least(second)


def _least(apart: Singles) -> Mask:
    return np.asarray(apart <= apart.min(axis=1, keepdims=True) + _ROUNDING)


def _few(nearest: Mask) -> Mask:
    return np.asarray(nearest.sum(axis=1) <= MOST_NEAREST)


LINKABILITY: Metric[Tables] = Metric(title="linkability", definitions=_DEFINITIONS, compute=link)

SPEC = AttackSpec(name="linkability", on="release", metrics=(LINKABILITY,), rank=7)
