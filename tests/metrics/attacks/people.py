"""An artificial population, tables drawn from it, and what is expected of a measure."""

import numpy as np

from workbench.data.dataset import Dataset, canonical_order
from workbench.metrics.tables import Tables
from workbench.schema import Schema

SCHEMA = Schema.model_validate(
    {
        "population": "people",
        "identity_type": "person",
        "subject": "person",
        "max_rows_per_subject": 2,
        "columns": {
            "person": {"kind": "identifier", "role": "subject_id"},
            "age": {"kind": "integer", "bounds": [18, 90], "bins": 12},
            "town": {
                "kind": "categorical",
                "role": "quasi_identifier",
                "categories": list("abcdefghijkl"),
                "missing": True,
            },
            "school": {"kind": "ordinal", "categories": ["none", "some", "much", "most"]},
            "income": {"kind": "continuous", "bounds": [0, 1000], "missing": True},
            "debts": {"kind": "continuous", "bounds": [0, 1000]},
            "illness": {"kind": "categorical", "role": "sensitive", "categories": ["none", "x", "y", "z"]},
            "loan": {"kind": "boolean", "role": "target"},
        },
    }
)


def values(n, rng):
    """`n` rows of the population: columns go together, but by far not wholly."""
    wealth = rng.normal(size=n)
    age = np.clip(np.round(50 + 15 * rng.normal(size=n) + 5 * wealth), 18, 90)
    town = np.where(rng.random(n) < 0.03, np.nan, np.clip(np.round(6 + 2 * wealth + 2 * rng.normal(size=n)), 0, 11))
    school = np.clip(np.round(1.5 + wealth + 0.7 * rng.normal(size=n)), 0, 3)
    income = np.where(rng.random(n) < 0.05, np.nan, np.clip(500 + 120 * wealth + 80 * rng.normal(size=n), 0, 1000))
    debts = np.clip(400 - 60 * wealth + 150 * rng.normal(size=n), 0, 1000)
    illness = np.where(rng.random(n) < 0.5, np.clip(np.round((age - 40) / 15), 0, 3), rng.integers(0, 4, n))
    return np.column_stack([age, town, school, income, debts, illness, wealth + rng.normal(size=n) > 0]).astype(float)


def dataset(rows, rng, *, each=1, schema=SCHEMA):
    """The rows as records of subjects with so many rows each."""
    subjects = -(-len(rows) // each)
    points, slice_points = (
        rng.integers(0, 2**64, subjects, dtype=np.uint64)[np.arange(len(rows)) // each] for _ in range(2)
    )
    order = canonical_order(rows, points, slice_points)
    return Dataset(
        name="people", schema=schema, values=rows[order], points=points[order], slice_points=slice_points[order]
    )


def tables(seed=0, *, n=1300, held=1300, each=1, release=None):
    """Training records, as many of the holdout, and a release: a function of the training values and a generator."""
    rng = np.random.default_rng(seed)
    training, holdout = (dataset(values(rows, rng), rng, each=each) for rows in (n, held))
    synthetic = values(n, rng) if release is None else release(training.values, rng)
    return Tables(training=training, holdout=holdout, synthetic=synthetic, seed=seed)


def copied(real, rng):
    """The training table in another order."""
    return rng.permutation(real)


def shuffled(real, rng):
    """Each column shuffled by itself."""
    return np.column_stack([rng.permutation(column) for column in real.T])


def memorised(real, rng):
    """The training rows with noise on every number, and a category of twenty replaced."""
    rows = rng.permutation(real)
    rows[:, 0] = np.clip(np.round(rows[:, 0] + rng.normal(0, 1, len(rows))), 18, 90)
    rows[:, 3:5] = np.clip(rows[:, 3:5] + rng.normal(0, 10, (len(rows), 2)), 0, 1000)
    changed = rng.random(len(rows)) < 0.05
    rows[changed, 1] = rng.integers(0, 12, changed.sum())
    return rows


def one_copied(real, rng):
    """A fresh table, in which one row of twenty is the same person's."""
    rows = values(len(real), rng)
    rows[::20] = real[7]
    return rows


def exceeds(measure):
    """Whether the interval lies above the baseline, or above the ceiling's interval where there is no baseline."""
    above = measure.baseline.high if measure.baseline else measure.ceiling.high
    return measure.estimate.low > above
