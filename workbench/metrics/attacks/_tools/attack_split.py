"""Who is attacked, and with what: people the release was made from, people it was not, and a table that holds none of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.data.dataset import Dataset
from workbench.data.identity import Points
from workbench.metrics.measure import NotComputableError
from workbench.metrics.tables import Tables
from workbench.schema.codec import Values

Floats = npt.NDArray[np.float64]

MEMBERS, CONTROLS = 2_000, 5_000  # subjects; 5,000 controls are the fewest for a rate at 0.1 % of false alarms
FEWEST = 20  # subjects on either side, below which an interval says nothing
_FEWEST_KNOWN = 5  # rows of the population
# Rows of a release for each one looked at. A person's copy is among these with probability 1 over that, and so fades every
# trace of single records: a full copy of a large table would look private.
_MOST_UNSEEN = 1.25
_HALF, _THREE_QUARTERS = np.uint64(2**63), np.uint64(3 * 2**62)


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackSplit:
    """The sides of an attack on a release; nobody is on two of them, and all rows of a subject are on one.

    `members` are training subjects, `controls` half of the holdout's. The other half is cut again: `reference` stands for what
    an attacker knows of the population, `stand_in` for a release that holds nobody who is attacked. By the subjects' hashes.
    """

    members: Dataset
    controls: Dataset
    reference: Dataset
    stand_in: Dataset
    synthetic: Values


def sides(tables: Tables, *, members: int = MEMBERS, controls: int = CONTROLS) -> AttackSplit:
    """At most so many subjects of each side, drawn, and all rows of the release.

    Raises NotComputableError where there are fewer than 20 subjects on a side; see also `checked`.
    """
    checked(tables)
    holdout = tables.holdout
    place = holdout.slice_points
    found = AttackSplit(
        members=drawn(tables.training, members, tables.rng("members")),
        controls=drawn(holdout.rows(place < _HALF), controls, tables.rng("controls")),
        reference=holdout.rows((place >= _HALF) & (place < _THREE_QUARTERS)),
        stand_in=holdout.rows(place >= _THREE_QUARTERS),
        # in random order, so that the first of several equally near rows is any of them
        synthetic=tables.rng("synthetic rows").permutation(tables.synthetic),
    )
    if min(count_subjects(found.members), count_subjects(found.controls)) < FEWEST or not _known(found):
        raise NotComputableError(
            f"not computable because an attack needs {FEWEST} training subjects and about {2 * FEWEST} of the holdout: half of "
            "these are controls, the rest stands for the population"
        )
    return found


def checked(tables: Tables) -> None:
    """Raises NotComputableError where a table is empty, has other columns, or tells no row from another.

    And where a part of the release was looked at: what attacks look for are traces of single records, which may lie in the
    rest. That holds for attribute inference too, by which a member gains no more than the row that was made of it.
    """
    if tables.looked_at > _MOST_UNSEEN:
        raise NotComputableError(
            f"not computable because only 1 in {tables.looked_at:.3g} rows of the release were looked at"
        )
    if not len(tables.training) or not len(tables.holdout):
        raise NotComputableError("not computable because there are no training rows or no holdout to compare with")
    if not len(tables.synthetic):
        raise NotComputableError("not computable because the release has no rows")
    if tables.synthetic.shape[1] != tables.training.values.shape[1]:
        raise NotComputableError("not computable because the release has other columns than the training table")
    if not (_varies(tables.training.values) | _varies(tables.synthetic)).any():
        raise NotComputableError("not computable because every column is constant or missing: all rows are alike")


def count_subjects(dataset: Dataset) -> int:
    """How many people the rows are about."""
    return len(np.unique(dataset.points))


def drawn(dataset: Dataset, most: int, rng: np.random.Generator) -> Dataset:
    """All rows of at most so many subjects, drawn uniformly."""
    subjects = np.unique(dataset.points)
    if len(subjects) <= most:
        return dataset
    return dataset.rows(np.isin(dataset.points, rng.choice(subjects, most, replace=False)))


def one_row_each(dataset: Dataset, rng: np.random.Generator) -> Dataset:
    """One row of each subject, drawn uniformly: trials that do not depend on each other."""
    order = rng.permutation(len(dataset))
    _, first = np.unique(dataset.points[order], return_index=True)
    chosen = np.zeros(len(dataset), dtype=bool)
    chosen[order[first]] = True
    return dataset.rows(chosen)


def shuffled(values: Values, most: int, rng: np.random.Generator) -> Values:
    """At most so many rows, drawn."""
    return np.asarray(values[rng.permutation(len(values))[:most]])


def per_subject(scores: Floats, points: Points) -> Floats:
    """The mean score of each subject's rows, in the order of their points."""
    _, whose, rows = np.unique(points, return_inverse=True, return_counts=True)
    return np.asarray(np.bincount(whose, weights=scores) / rows)


def _known(found: AttackSplit) -> bool:
    return min(len(found.reference), len(found.stand_in)) >= _FEWEST_KNOWN


def _varies(values: Values) -> npt.NDArray[np.bool_]:
    missing = np.isnan(values)
    differ = (values != values[:1]) & ~(missing & missing[:1])
    return np.asarray(differ.any(axis=0))
