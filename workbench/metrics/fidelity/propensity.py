"""pMSE: how far a logistic regression's guesses of which table a row is of are from knowing nothing."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import expit

from workbench.metrics.comparable import check_tables
from workbench.metrics.compare import BASELINE, CEILING, beside
from workbench.metrics.estimate import Estimate
from workbench.metrics.fidelity.real_vs_synthetic import MOST_ROWS, Mixed, mix, rows_of_each
from workbench.metrics.jackknife import GROUPS, Floats, jackknife
from workbench.metrics.measure import Definition, Measure, Metric, NotComputableError
from workbench.metrics.registry import MetricSpec
from workbench.metrics.sample import Codes, sample_of
from workbench.metrics.tables import Tables
from workbench.schema import Codec, Column
from workbench.schema.codec import Values

_MOST_PARAMETERS = 400
_ROWS_PER_PARAMETER = 10  # fewer, and the regression knows the rows by heart
_MOST_STEPS = 20
_REACH = 5.0
_CONVERGED = 1e-3
_RIDGE = 1e-6  # of a row's weight: where one table alone has a category, there is no greatest likelihood
_DEPENDENT = 1e-10

# Snoke et al. hold the records fixed: (k - 1)(1 - c)²c/N for a share c of released rows among N. Here they are a sample too,
# as the holdout is, which makes the mean 1/(1 - c) times that: (k - 1)(1 - c)c/N, with c = ½ and N = 2n.
_SOURCE = "Snoke, Raab, Nowok, Dibben & Slavkovic 2018; there the records are fixed, here a sample"
_NOTE = (
    f"Of at most {MOST_ROWS:,} rows of either table, as many for baseline and ceiling. The regression has each category, each "
    f"number, what is missing, and the product of each two columns, where there are at least {_ROWS_PER_PARAMETER} rows for "
    f"each parameter and at most {_MOST_PARAMETERS} of these. The interval leaves out groups of subjects and rows, each with "
    "one more step of the regression."
)

PMSE = Definition(
    name="fidelity/pmse",
    title="Propensity score error (pMSE)",
    formula="mean of (p - ½)² over n rows of either table, p: the fitted chance of being a released one",
    range=(0.0, 0.25),
    better="lower",
    source=_SOURCE,
    baseline=BASELINE,
    ceiling=CEILING,
    note="0: nothing tells them apart; 0.25: all are told. Rows of one population give (k - 1)/(8 n) on average. "
    + _NOTE,
)
PMSE_RATIO = Definition(
    name="fidelity/pmse_ratio",
    title="Propensity score error against chance",
    formula="pMSE / ((k - 1)/(8 n)), the mean of pMSE where both tables are drawn from one population; k: parameters",
    range=(0.0, float("inf")),
    better="lower",
    source=_SOURCE,
    baseline=BASELINE,
    ceiling=CEILING,
    note="1: as two samples of one population; ½: as the training rows drawn anew. It grows with n for one release. "
    + _NOTE,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Propensity:
    """pMSE of two tables of n rows [1 + GROUPS], and its mean where they are of one population."""

    pmse: Floats
    expected: float


def design(codec: Codec, values: Values) -> Floats:
    """The columns of the regression [n, k], the intercept first, none of them a combination of those before it.

    Categories, and then products, are left out where they would make the parameters too many; NotComputableError where the
    table's columns alone are.
    """
    columns = list(zip(codec.schema.encoded.values(), values.T, strict=True))
    coded = [(column, encoded) for column, encoded in columns if column.is_coded]
    places = [_place(column, encoded) for column, encoded in columns]
    lines = [np.ones(len(values)), *places, *(np.isnan(encoded) for column, encoded in columns if column.missing)]
    most = min(_MOST_PARAMETERS, len(values) // _ROWS_PER_PARAMETER)
    with_categories = len(lines) + sum(column.cells for column, _ in coded)
    if len(lines) > most:
        raise NotComputableError("not computable because the table has too many columns for a regression of its rows")
    if with_categories <= most:
        lines += [encoded == code for column, encoded in coded for code in range(column.cells)]
    if with_categories + math.comb(len(places), 2) <= most:
        lines += [one * other for one, other in itertools.combinations(places, 2)]
    return _independent(np.column_stack(lines).astype(np.float64))


def _place(column: Column, encoded: Values) -> Values:
    """Where in its domain each value lies, less the mean; missing values at the mean."""
    low, high = (0.0, column.cells - 1.0) if column.is_coded else (column.low, column.high)
    place = (encoded - low) / ((high - low) or 1.0)
    there = place[~np.isnan(place)]
    return np.nan_to_num(place - (there.mean() if len(there) else 0.0), nan=0.0)


def propensity(mixed: Mixed, codec: Codec) -> Propensity:
    """The pMSE of a mixture of tables in equal parts; raises NotComputableError where rows are too few."""
    x, y = design(codec, mixed.values), mixed.released.astype(np.float64)
    n, k = x.shape
    if k < 2:
        raise NotComputableError("not computable because no column varies in either table")
    weights, kept = _fitted(x, y), np.ones((1 + GROUPS, n))
    kept[1:] = [mixed.groups != group for group in range(GROUPS)]
    each = np.array([weights, *(weights + step for step in _steps_without(x, y, weights, mixed.groups))])
    squares = (expit(x @ each.T).T - 0.5) ** 2
    return Propensity(pmse=(squares * kept).sum(axis=1) / kept.sum(axis=1), expected=(k - 1) / (4 * n))


def _fitted(x: Floats, y: Floats) -> Floats:
    """The regression's weights, by Newton's method; no step moves a row's score by more than it safely may."""
    weights = np.zeros(x.shape[1])
    for _ in range(_MOST_STEPS):
        slope, curve = _derivatives(x, y, weights)
        step = np.linalg.solve(*_with_ridge(curve, slope, weights, len(x)))
        reach, before = float(np.abs(x @ step).max()), expit(x @ weights)
        weights = weights + step * min(1.0, _REACH / max(reach, _REACH))
        if np.abs(expit(x @ weights) - before).max() < _CONVERGED:  # not of scores: those of a separated row walk on
            break
    return weights


def _steps_without(x: Floats, y: Floats, weights: Floats, groups: Codes) -> Floats:
    """The Newton step [GROUPS, k] from the fit of all rows to that of all but a group's."""
    parts = [_derivatives(x[groups == group], y[groups == group], weights) for group in range(GROUPS)]
    slope, curve = sum(part[0] for part in parts), sum(part[1] for part in parts)
    return np.array([np.linalg.solve(*_with_ridge(curve - c, slope - s, weights, len(x))) for s, c in parts])


def _derivatives(x: Floats, y: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The slope of the log likelihood, and its curvature's negative."""
    p = expit(x @ weights)
    return x.T @ (y - p), (x * (p * (1 - p))[:, None]).T @ x


def _with_ridge(curve: Floats, slope: Floats, weights: Floats, n: int) -> tuple[Floats, Floats]:
    return curve + _RIDGE * n * np.eye(len(curve)), slope - _RIDGE * n * weights


def _independent(x: Floats) -> Floats:
    """The columns of x that are no combination of those before them, by their pivots in its Gram matrix."""
    scale = np.sqrt((x**2).mean(axis=0))
    x = x[:, scale > 0] / scale[scale > 0]
    gram, kept = x.T @ x / len(x), []
    for column in range(len(gram)):
        pivot = gram[column, column]
        if pivot > _DEPENDENT:
            kept.append(column)
            gram = gram - np.outer(gram[:, column], gram[column]) / pivot
    return x[:, kept]


def _propensity(tables: Tables) -> list[Measure]:
    check_tables(tables)
    n, training = rows_of_each(tables), sample_of(tables, "training")

    @cache
    def fitted(name: str) -> Propensity:
        return propensity(mix(training, sample_of(tables, name), n, rng=tables.rng("pmse")), tables.codec)

    def pmse(name: str) -> Estimate:
        return jackknife(fitted(name).pmse, n=2 * n, within=PMSE.range)

    def ratio(name: str) -> Estimate:
        return jackknife(fitted(name).pmse / fitted(name).expected, n=2 * n, within=PMSE_RATIO.range)

    return [beside(PMSE, tables, pmse), beside(PMSE_RATIO, tables, ratio)]


PROPENSITY: Metric[Tables] = Metric(title=PMSE.title, definitions=(PMSE, PMSE_RATIO), compute=_propensity)

SPEC = MetricSpec(name="propensity", metrics=(PROPENSITY,), rank=8)
