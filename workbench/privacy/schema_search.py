"""Finds a schema under differential privacy: what it says about the rows comes from noisy counts alone.

The unit is a subject with at most k rows; further rows are not looked at. Every row counts once for its kind of cell, once for
its range and once for its category, and adds at most one distinct value, so a subject changes the counts of a measurement by
at most k in all, which bounds their L1, L2 and maximum change. The names of the columns are taken to be public.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import InputError
from workbench.privacy.accounting import dpa
from workbench.privacy.calibration import zcdp_rho
from workbench.privacy.events import ApproximateDpEvent
from workbench.privacy.ledger import FAILURES
from workbench.privacy.mechanisms import common_counts, gaussian_counts, gaussian_sigma, threshold_for
from workbench.schema import Column, Schema
from workbench.schema.column import EXACT_INTEGER
from workbench.schema.encode import distinct_texts
from workbench.schema.infer import MAX_CATEGORIES, MAX_CLASSES, check_names, draft, kinds_with_a_form
from workbench.schema.kinds.kind import Axis, Ends, Fields
from workbench.schema.kinds.registry import KINDS

_Floats = npt.NDArray[np.float64]
_REST = "categorical"  # the kind of cells that have no other's form

# Shares of a column's rho: what kind it is, whether all its values differ, and the rest for its domain.
_FOR_KIND, _FOR_DISTINCT = 0.2, 0.1
# A column is of a kind if this share of its cells is: a stray "?" makes no text of a number.
_NEARLY_ALL = 0.95
_UNSURE = 0.01  # how probable it is that an empty range is taken for a filled one, in each search


@dataclass(frozen=True, kw_only=True)
class SchemaSearch:
    """A search for a schema that is (epsilon, delta)-differentially private for subjects of at most so many rows.

    Guarantees:
      - `event` is a function of the fields alone, and pays for all that `find` learns.
      - a category is named only if a noisy count of its rows passed a threshold.
      - bounds are ends of public ranges whose noisy count is high.
      - what it raises depends on the rows only where the file can't be read or names its columns badly, or by noisy counts.
    """

    epsilon: float
    delta: float
    max_rows_per_subject: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.max_rows_per_subject, bool) or self.max_rows_per_subject < 1:
            raise InputError(f"a subject has at least one row, found {self.max_rows_per_subject}", hint="--max-rows 1")
        zcdp_rho(self.epsilon, self.delta)  # validates both

    @property
    def _failure(self) -> float:
        return FAILURES * self.delta

    @property
    def event(self) -> ApproximateDpEvent:
        """What a search costs, to be charged before it."""
        rho = zcdp_rho(self.epsilon, self.delta, failure=self._failure)
        return ApproximateDpEvent(dpa.ZCDpEvent(rho), self._failure)

    def find(
        self, chunks: Iterable[pd.DataFrame], *, population: str, target: str | None = None, subject: str | None = None
    ) -> Schema:
        """A draft schema of the table that comes in chunks, every column marked `reviewed: false`."""
        if subject is None and self.max_rows_per_subject != 1:
            raise InputError("where each row is a person, a person has one row", hint="--subject COLUMN")
        tallies = tally(chunks, subject=subject, target=target, max_rows_per_subject=self.max_rows_per_subject)
        found: dict[str, Column] = {}
        share = self.event.event.rho / max(1, len(tallies) - (subject is not None))
        for name, seen in tallies.items():
            if name == subject:
                found[name] = Column(kind="identifier", role="subject_id")
                continue
            look = _Look(seen, share, self._failure / len(tallies), self.max_rows_per_subject)
            found[name] = look.target(name) if name == target else look.column()
        rows = {"max_rows_per_subject": self.max_rows_per_subject, "over_limit": "drop"} if subject is not None else {}
        return draft(found, subject, population=population, **rows)


@dataclass
class Tally:
    """The rows of each text of a column, and those of none."""

    rows: Counter[str] = field(default_factory=Counter)
    missing: int = 0

    def add(self, series: pd.Series) -> None:
        """Counts a part of the column; what a row counts for depends on no other row."""
        if pd.api.types.is_integer_dtype(series.dtype):
            series = series.astype(float)  # as it comes in a chunk where somebody's value is missing
        places, texts = distinct_texts(series)
        counts = np.bincount(places + 1, minlength=len(texts) + 1).tolist()
        for text, times in zip(["", *texts], counts, strict=True):
            if text:
                self.rows[text] += times
            else:
                self.missing += times


def tally(
    chunks: Iterable[pd.DataFrame], *, subject: str | None, target: str | None, max_rows_per_subject: int
) -> dict[str, Tally]:
    """The exact counts of every column, over the first rows of each subject; rows that name no subject are left out."""
    tallies: dict[str, Tally] = {}
    taken: Counter[str] = Counter()
    for chunk in chunks:
        if not tallies:
            check_names(chunk.columns, target, subject)
            tallies = {str(name): Tally() for name in chunk.columns}
        kept = chunk if subject is None else chunk[_first_rows(chunk[subject], taken, max_rows_per_subject)]
        for name, seen in tallies.items():
            if name != subject:
                seen.add(kept[name])
    return tallies


def _first_rows(subjects: pd.Series, taken: Counter[str], most: int) -> npt.NDArray[np.bool_]:
    if pd.api.types.is_numeric_dtype(subjects.dtype):
        # where somebody's number is missing they come as floats, in which neighbours beyond this would be one person
        subjects = subjects.astype(float).where(lambda numbers: numbers.abs() <= EXACT_INTEGER)
    places, texts = distinct_texts(subjects)
    names = [texts[place] if place >= 0 else "" for place in places.tolist()]
    kept = []
    for name in names:
        kept.append(bool(name) and taken[name] < most)
        taken[name] += 1
    return np.array(kept, dtype=bool)


def kinds_of(texts: Iterable[str]) -> dict[str, str]:
    """The first kind in turn whose form each cell has; it depends on no other cell."""
    kinds = kinds_with_a_form()
    return {text: next((name for name, kind in kinds.items() if kind.is_of(text)), _REST) for text in texts}


@dataclass(frozen=True)
class _Look:
    """One column's tally and what may be spent on it; nothing else of the tally leaves than noisy counts."""

    seen: Tally
    rho: float
    delta: float
    per_subject: int

    @cached_property
    def _forms(self) -> dict[str, str]:
        return kinds_of(self.seen.rows)

    def column(self) -> Column:
        """What the column seems to be; a text that is left out where nothing is common enough."""
        kind, missing = self._kind(self.rho * _FOR_KIND)
        found: Fields | None = None
        if kind is not None:
            spec = KINDS[kind]
            if spec.may_be_keys and self._all_differ(self.rho * _FOR_DISTINCT):
                return Column(kind="identifier", role="drop", reviewed=False)
            found = spec.find(self, self.rho * (1 - _FOR_KIND - _FOR_DISTINCT), missing=missing)
        return Column(**(found or {"kind": "text", "role": "drop"}), reviewed=False)

    def target(self, name: str) -> Column:
        """A class, where few values hold nearly all rows, or a number; rows without it are left out."""
        kind, _ = self._kind(self.rho * _FOR_KIND)
        rho = self.rho * (1 - _FOR_KIND) / 2
        common = self.common(rho)
        rows = self._noisy([sum(self.seen.rows.values())], self.rho * _FOR_DISTINCT)[0]
        found: Fields | None = None
        if 0 < len(common) <= MAX_CLASSES and sum(common.values()) >= _NEARLY_ALL * rows:
            found = {"kind": "categorical", "categories": tuple(common)}
        elif kind is not None and KINDS[kind].level == "ratio":
            found = KINDS[kind].find(self, rho - self.rho * _FOR_DISTINCT, missing=False)
        if found is None:
            raise InputError(
                f"no class or range of the target column {name!r} is common enough to be told at this epsilon",
                hint="name another --target, or write the schema by hand",
            )
        column = Column(**found, reviewed=False)
        return column.model_copy(update={"role": "target", "out_of_domain": "drop"})

    def _noisy(self, counts: list[int], rho: float) -> _Floats:
        sigma = gaussian_sigma(rho=rho, sensitivity=self.per_subject)
        return gaussian_counts(np.array(counts, dtype=np.int64), sigma=sigma).astype(np.float64)

    def _kind(self, rho: float) -> tuple[str | None, bool]:
        """The kind nearly all cells are of, None where there are hardly any, and whether cells are missing."""
        rows = Counter[str]()
        for text, times in self.seen.rows.items():
            rows[self._forms[text]] += times
        kinds = [*kinds_with_a_form(), _REST]
        *counts, missing = self._noisy([*(rows[kind] for kind in kinds), self.seen.missing], rho)
        sure = 3 * gaussian_sigma(rho=rho, sensitivity=self.per_subject)
        share = dict(zip(kinds, np.clip(counts, 0, None), strict=True))
        filled = sum(share.values())
        if filled <= sure:
            return None, True
        for name in kinds:
            share[name] += sum(share[narrower] for narrower in KINDS[name].narrower if narrower in share)
        kind = next((name for name in kinds if share[name] >= _NEARLY_ALL * filled), _REST)
        return kind, bool(missing > sure)

    def _all_differ(self, rho: float) -> bool:
        rows, distinct = (
            self._noisy([sum(self.seen.rows.values())], rho / 2),
            self._noisy([len(self.seen.rows)], rho / 2),
        )
        return bool(distinct[0] >= _NEARLY_ALL * rows[0])

    def common(self, rho: float) -> dict[str, int]:
        """The texts whose noisy count passed the threshold."""
        sigma = gaussian_sigma(rho=rho, sensitivity=self.per_subject)
        threshold = threshold_for(sigma=sigma, delta=self.delta, per_subject=self.per_subject)
        counts = common_counts(self.seen.rows, sigma=sigma, threshold=threshold)
        most = sorted(counts, key=lambda text: (-counts[text], text))[:MAX_CATEGORIES]
        return {text: counts[text] for text in sorted(most)}

    def filled(self, axis: Axis, forms: Collection[str], edges: _Floats, rho: float) -> Ends | None:
        """The ends of the first and the last range between `edges` that surely holds cells of these forms."""
        numbers = Counter[float]()  # added up: one number may be spelt in several ways
        for text, times in self.seen.rows.items():
            if self._forms[text] in forms:
                numbers[axis.read(text)] += times
        return self._filled(numbers, edges, rho)

    def _filled(self, rows: Mapping[float, int], edges: _Floats, rho: float) -> tuple[float, float] | None:
        """The ends of the first and the last range between `edges` whose noisy count is surely no empty one's."""
        numbers = np.array([number for number in rows if math.isfinite(number)])
        times = np.array([times for number, times in rows.items() if math.isfinite(number)])
        ranges = len(edges) - 1
        place = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, ranges - 1)
        counts = np.bincount(place, weights=times, minlength=ranges).astype(np.int64)
        sigma = gaussian_sigma(rho=rho, sensitivity=self.per_subject)
        sure = np.flatnonzero(self._noisy(counts.tolist(), rho) > sigma * math.sqrt(2 * math.log(ranges / _UNSURE)))
        return (float(edges[sure[0]]), float(edges[sure[-1] + 1])) if len(sure) else None
