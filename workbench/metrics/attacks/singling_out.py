"""Singling out: a description made from the synthetic table that fits exactly one person of the real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from workbench.data.dataset import Dataset
from workbench.metrics.attacks._tools.attack_split import count_subjects, drawn, sides
from workbench.metrics.attacks._tools.rates import Hits, attempted, definitions, rated
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError
from workbench.metrics.registry import AttackSpec
from workbench.metrics.tables import Tables
from workbench.schema.codec import Codec, Values

Mask = npt.NDArray[np.bool_]

MOST = 1_000  # descriptions
COLUMNS = 8  # of a description of several
SUBJECTS = 10_000  # on either side
_TRIES = 4  # for every description that is wanted
_SOURCE = "Giomi et al. 2023 (Anonymeter), singling out"


Relation = Literal["is", "at most", "at least", "missing"]


class Term(NamedTuple):
    """What a description says of one column: the value is that, at most that, at least that, or missing."""

    position: int
    relation: Relation
    value: float


Description = tuple[Term, ...]
Descriptions = Callable[[Values, Codec, np.random.Generator], Iterator[Description]]


def fits(description: Description, columns: Values) -> Mask:
    """Which rows of columns [d, n] a description fits; nothing but `missing` fits a missing value."""
    return np.asarray(np.logical_and.reduce([_fits(term, columns[term.position]) for term in description]))


def _fits(term: Term, column: Values) -> Mask:
    if term.relation == "missing":
        return np.asarray(np.isnan(column))
    if term.relation == "is":
        return np.asarray(column == term.value)
    return np.asarray(column <= term.value if term.relation == "at most" else column >= term.value)


def univariate(release: Values, codec: Codec, rng: np.random.Generator) -> Iterator[Description]:
    """Values that one row of the release has alone, and beyond the least and the greatest of its numbers; in random order."""
    found: list[tuple[int, Relation, Values]] = []
    for position, name in enumerate(codec.names):
        column = release[:, position]
        known = column[~np.isnan(column)]
        values, rows = np.unique(known, return_counts=True)
        found.append((position, "is", values[rows == 1]))
        if len(column) - len(known) == 1:
            found.append((position, "missing", np.zeros(1)))
        if len(known) and not codec.schema.encoded[name].is_coded:
            found += [(position, "at most", values[:1]), (position, "at least", values[-1:])]
    # of a wide table there are many, of which few are asked for: each is made when it is its turn
    starts = np.cumsum([0, *(len(values) for _, _, values in found)])
    for place in rng.permutation(starts[-1]):
        which = int(np.searchsorted(starts, place, side="right")) - 1
        position, relation, values = found[which]
        yield (Term(position, relation, float(values[place - starts[which]])),)


def multivariate(release: Values, codec: Codec, rng: np.random.Generator) -> Iterator[Description]:
    """Several columns of a row of the release: codes as they are, numbers from there outward, seen from the median.

    Rows are taken in random order and none twice: descriptions that single out the same people are no independent trials.
    """
    many = min(COLUMNS, len(codec.names))
    medians = [np.median(known) if len(known := c[~np.isnan(c)]) else np.nan for c in release.T]
    coded = [column.is_coded for column in codec.schema.encoded.values()]
    columns = np.ascontiguousarray(release.T)
    for row in release[rng.permutation(len(release))[: _TRIES * MOST]]:
        chosen = rng.choice(len(codec.names), many, replace=False)
        description = tuple(_term(int(c), float(row[c]), coded=coded[c], median=medians[c]) for c in chosen)
        if fits(description, columns).sum() == 1:
            yield description


def _term(position: int, value: float, *, coded: bool, median: float) -> Term:
    if np.isnan(value):
        return Term(position, "missing", 0.0)
    if coded:
        return Term(position, "is", value)
    return Term(position, "at least" if value >= median else "at most", value)


def single_out(tables: Tables, *, described: Descriptions, of: Sequence[Definition]) -> list[Measure]:
    """The risk and the rate that a description fits exactly one person, all of whose rows are looked at; see `rated`.

    As many training as holdout subjects are drawn, since in a larger table other descriptions fit one. Raises
    NotComputableError where the release gives no description. There is no baseline or no ceiling where the rows that it is made
    of give none.
    """
    found, codec, rng = sides(tables), tables.codec, tables.rng("singling out")
    many = min(SUBJECTS, count_subjects(tables.training), count_subjects(found.controls))
    equal = type(found)(
        members=drawn(tables.training, many, rng),
        controls=drawn(found.controls, many, rng),
        reference=found.reference,
        stand_in=found.stand_in,
        synthetic=found.synthetic,
    )
    public = codec.unbin(rng.integers(0, codec.sizes, size=(len(found.synthetic), len(codec.sizes))), rng=rng)
    seeds = tables.rng("descriptions").integers(0, 2**32)

    def attack(release: Values, targets: Dataset) -> Hits:
        return _successes(release, targets, described, np.random.default_rng(seeds))

    def naive(_: Values, targets: Dataset) -> Hits:
        return _successes(public, targets, described, np.random.default_rng(seeds))

    outcome, stand_in = attempted(equal, attack, naive)
    if not len(outcome.members):
        raise NotComputableError("not computable because no row of the release stands out by a description")
    return rated(of, outcome, stand_in)


def _successes(release: Values, targets: Dataset, described: Descriptions, rng: np.random.Generator) -> Hits:
    columns = np.ascontiguousarray(targets.values.T)
    hits = []
    for _, description in zip(range(MOST), described(release, targets.codec, rng), strict=False):
        people = targets.points[fits(description, columns)]
        hits.append(len(people) > 0 and bool((people == people[0]).all()))
    return np.array(hits, dtype=bool)


def _metric(name: str, title: str, described: Descriptions, made: str) -> Metric[Tables]:
    of = definitions(
        name,
        title,
        success=f"a description fits one person of the table alone; made of {made}",
        naive="descriptions made of rows drawn uniformly from the public domain",
        source=_SOURCE,
    )
    return Metric(title=title.lower(), definitions=of, compute=partial(single_out, described=described, of=of))


SINGLING_OUT: tuple[Metric[Tables], ...] = (
    _metric(
        "singling_out_univariate",
        "Singling out by one column",
        univariate,
        "a value that one synthetic row has alone, or of all beyond the outermost number",
    ),
    _metric(
        "singling_out_multivariate",
        "Singling out by several columns",
        multivariate,
        f"{COLUMNS} columns of a synthetic row that fit no other",
    ),
)

SPEC = AttackSpec(name="singling_out", on="release", metrics=SINGLING_OUT, rank=6)
