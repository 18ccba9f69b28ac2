"""Attribute inference: who knows all else about a person reads the secret off the synthetic row that is most like them."""

from __future__ import annotations

from functools import partial

import numpy as np

from workbench.data.dataset import Dataset
from workbench.metrics.attacks._tools.attack_split import one_row_each, sides
from workbench.metrics.attacks._tools.mixed_distance import distances, placed
from workbench.metrics.attacks._tools.rates import Attack, Hits, attempted, definitions, rated
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError
from workbench.metrics.registry import AttackSpec
from workbench.metrics.tables import Tables
from workbench.schema import Column, Schema
from workbench.schema.codec import Codec, Values

CONTROLS = 2_000
TOLERANCE = 0.05  # of the true number, and of the public range
_SOURCE = "Giomi et al. 2023 (Anonymeter), attribute inference"


def inference(schema: Schema) -> tuple[Metric[Tables], ...]:
    """An attack on each column that is declared sensitive or target; one that is not computable where there is none."""
    secrets = [name for name, column in schema.encoded.items() if column.role in ("sensitive", "target")]
    return tuple(map(_metric, secrets)) or (
        Metric(title="attribute inference", definitions=_of("none"), compute=_none),
    )


def right(guessed: Values, true: Values, column: Column) -> Hits:
    """Which guesses are right: the same code, or a number near the true one; missing is guessed as such.

    |guess - truth| <= 0.05 min(|truth|, high - low), low and high the public bounds: both sides without sign, and 0 is guessed
    by 0 alone. The size of a number far from 0, as of a year, says little: 5 % of it is more than the whole range. That of a
    moment says nothing, for it is the time since the lower bound: it is near within 0.05 (high - low).
    """
    return np.asarray((np.abs(guessed - true) <= _near(true, column)) | (np.isnan(guessed) & np.isnan(true)))


def _near(true: Values, column: Column) -> Values:
    """How far off a guess of each value may be."""
    if column.is_coded:
        return np.zeros(len(true))
    most = np.full(len(true), column.high - column.low)
    return TOLERANCE * (most if column.spec.level == "interval" else np.minimum(np.abs(true), most))


def _of(column: str) -> tuple[Definition, ...]:
    return definitions(
        f"inference_{column}",
        f"Attribute inference of {column}",
        success="the secret of the nearest synthetic row by all other columns is the person's "
        "(a number: within 5 % of it and of its public range; a moment: within 5 % of the range)",
        naive="the secret of a synthetic row drawn at random",
        source=_SOURCE,
    )


def _metric(column: str) -> Metric[Tables]:
    return Metric(title=f"inference of {column}", definitions=_of(column), compute=partial(infer, column=column))


def _none(_: Tables) -> list[Measure]:
    raise NotComputableError("not computable because the schema declares no sensitive and no target column")


def infer(tables: Tables, *, column: str) -> list[Measure]:
    """The risk and the rate that a column's value is guessed right, one row of each subject under attack; see `rated`.

    Raises NotComputableError where nobody has a value of it, all have the same, or nothing else is known.
    """
    found = sides(tables, controls=CONTROLS)
    codec, position = tables.codec, tables.codec.names.index(column)
    secret = found.members.values[:, position]
    if len(np.unique(secret[~np.isnan(secret)])) + np.isnan(secret).any() < 2:
        raise NotComputableError("not computable because all people under attack have the same value, or none")
    if len(codec.names) < 2:
        raise NotComputableError("not computable because there is no other column to know a person by")
    rng = tables.rng(f"inference of {column}")
    guess = _by_neighbour(codec, position, rng)
    return rated(_of(column), *attempted(found, guess, _by_chance(codec, position, rng)))


def _by_neighbour(codec: Codec, position: int, rng: np.random.Generator) -> Attack:
    def attack(release: Values, targets: Dataset) -> Hits:
        people, known = one_row_each(targets, rng), placed(release, codec, without=[position])
        closest = np.empty(len(people), dtype=np.intp)
        for block, apart in distances(placed(people.values, codec, without=[position]), known):
            closest[block] = apart.argmin(axis=1)  # rows of a release come in random order: any of the nearest
        return _right(codec, position, release[closest], people.values)

    return attack


def _by_chance(codec: Codec, position: int, rng: np.random.Generator) -> Attack:
    def attack(release: Values, targets: Dataset) -> Hits:
        people = one_row_each(targets, rng)
        return _right(codec, position, release[rng.integers(0, len(release), len(people))], people.values)

    return attack


def _right(codec: Codec, position: int, guessed: Values, people: Values) -> Hits:
    return right(guessed[:, position], people[:, position], codec.schema.encoded[codec.names[position]])


SPEC = AttackSpec(name="inference", on="release", metrics=inference, rank=8)
