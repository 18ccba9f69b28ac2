"""An artificial population whose answers are known, and tables of it that are planted with faults."""

from __future__ import annotations

import numpy as np

from workbench.data.dataset import Dataset
from workbench.metrics.tables import Tables
from workbench.schema.schema import parse_schema

PEOPLE = parse_schema(
    {
        "population": "planted",
        "identity_type": "planted-number",
        "subject": "person",
        "max_rows_per_subject": 3,
        "columns": {
            "person": {"kind": "identifier", "role": "subject_id"},
            "group": {"kind": "categorical", "role": "sensitive", "categories": ["a", "b", "c"]},
            "rank": {"kind": "ordinal", "categories": ["low", "middle", "high"]},
            "town": {"kind": "categorical", "categories": ["w", "x", "y", "z"], "missing": True},
            "age": {"kind": "integer", "bounds": [18, 81], "bins": 16},
            "hours": {"kind": "continuous", "bounds": [0, 50], "bins": 10, "missing": True},
            "passed": {"kind": "boolean", "role": "target"},
        },
        "constraints": [
            {"determined": {"column": "rank", "by": "group", "values": {"a": "low", "b": "middle", "c": "high"}}}
        ],
    },
    source="test",
)
GROUP, RANK, TOWN, AGE, HOURS, PASSED = range(6)


def people(n: int, *, seed: int) -> np.ndarray:
    """`n` rows of the population: towns go with groups, hours with towns, passing with hours and age."""
    rng = np.random.default_rng(seed)
    group = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    town = ((group + rng.choice(4, n, p=[0.6, 0.2, 0.1, 0.1])) % 4).astype(float)
    age = np.clip(np.round(rng.normal(45 + 3 * group, 14, n)), 18, 81)
    hours = np.clip(5 * town + rng.gamma(4, 4, n), 0, 50)
    passed = (hours - 0.4 * age + rng.normal(0, 6, n) > 2).astype(float)
    town[rng.random(n) < 0.05] = np.nan
    hours[(rng.random(n) < 0.1) | np.isnan(town)] = np.nan
    return np.column_stack([group, group, town, age, hours, passed]).astype(float)


def dataset(values: np.ndarray, *, rows_each: int = 1, schema=PEOPLE, first: int = 0) -> Dataset:
    """A data set of these rows, `rows_each` of every subject."""
    points = (np.arange(len(values)) // rows_each + first).astype(np.uint64)
    return Dataset(name="planted", schema=schema, values=values, points=points, slice_points=points)


def tables(synthetic: np.ndarray | None = None, *, training=None, holdout=None, n: int = 2000, seed: int = 0) -> Tables:
    """Tables of the population: the release is another sample of it, unless one is given."""
    return Tables(
        training=dataset(people(n, seed=10 * seed + 1) if training is None else training),
        holdout=dataset(people(n, seed=10 * seed + 2) if holdout is None else holdout, first=10**6),
        synthetic=people(n, seed=10 * seed + 3) if synthetic is None else synthetic,
        seed=seed,
    )


def shuffled(values: np.ndarray, *, seed: int = 5) -> np.ndarray:
    """Every column shuffled by itself."""
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.permutation(column) for column in values.T])


def by_name(measures) -> dict:
    """Measures by the word after their family."""
    return {measure.definition.name.partition("/")[2]: measure for measure in measures}
