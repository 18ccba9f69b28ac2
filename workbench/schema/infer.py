"""Proposes a schema by reading a table: a draft for a person to correct, never a domain to rely on as it stands.

What the draft takes from the data is blunted, not private: no category that fewer than k subjects hold is named, no
bound is set by fewer than k subjects, and bounds are rounded outward. Only a review, or a domain known from elsewhere,
makes it public.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import ValidationError

from workbench.errors import InputError
from workbench.schema.column import EXACT_INTEGER, Column
from workbench.schema.encode import distinct_texts, parse_microseconds, parse_number
from workbench.schema.schema import ROW_SUBJECT, Schema

MAX_DISTINCT = 50_000  # beyond it a column's values are no longer counted, so that memory stays bounded
MAX_CATEGORIES = 1_000
MAX_CLASSES = 20  # a target with more values is a number to predict, not a class
LONGEST_SPAN = 280  # years between two dates that are still told apart by the microsecond

EPOCH = dt.datetime(1970, 1, 1)
_Subjects = npt.NDArray[np.uint64]
_Kind = Literal["boolean", "integer", "number", "moment"]


def infer_schema(chunks: Iterable[pd.DataFrame], *, target: str | None, subject: str | None, k: int = 20) -> Schema:
    """A draft schema of a table that comes in chunks; every domain in it is a guess marked `reviewed: false`.

    It holds no population and no identity type: whose people they are cannot be read from a table.

    Guarantees:
      - a category held by fewer than k subjects is not named; it falls into one named `other`.
      - in a table of 2k subjects or more, k of them lie at or beyond every bound before it is rounded outward.
      - memory does not grow with the rows, but for one counter per subject.
      - no message holds a cell of the table.
    """
    names: list[str] = []
    evidence: dict[str, _Evidence] = {}
    rows_of_subject = _Times()
    n_rows = 0
    for chunk in chunks:
        if not names:
            check_names(chunk.columns, target, subject)
            names = list(chunk.columns)
            evidence = {column: _Evidence(k=k) for column in names if column != subject}
        subjects = _subjects(chunk, subject, start=n_rows)
        n_rows += len(chunk)
        if subject is not None:
            rows_of_subject.add(subjects)
        for column, seen in evidence.items():
            seen.add(chunk[column], subjects)
    if n_rows < 2:
        raise InputError(
            f"the table has {n_rows} rows; a schema can be guessed from two or more", hint="write it by hand"
        )
    columns = {
        column: Column(kind="identifier", role="subject_id")
        if column == subject
        else _guess(evidence[column], column, is_target=column == target)
        for column in names
    }
    most_rows = rows_of_subject.most() if subject is not None else 1
    return draft(columns, subject, max_rows_per_subject=math.ceil(_series_125(most_rows)))


def annotate(schema: Schema) -> str:
    """The YAML text of a guessed schema under a comment that says what it is, what it leaks and what to do."""
    return _commented(
        schema,
        "THIS DRAFT READ THE DATA. Every domain marked `reviewed: false` is a guess made from the rows.",
        "What a guess leaks: that enough people hold each category named and others hold rarer ones, roughly where the",
        "smallest and largest values lie, and which columns have gaps. Differential privacy covers none of it.",
        "For each column: replace the guess by what is known from elsewhere (a code book, a form, a law), then set",
        "`reviewed: true` or delete the line. Check also subject and max_rows_per_subject.",
        "It names no population and no identity_type: the data set gets its own name for both. Where its people are in another",
        "data set too, write those of that one here: the same people have one budget, and one request reaches all their rows.",
    )


def annotate_private(schema: Schema, *, epsilon: float, delta: float) -> str:
    """The same for a schema that was found under differential privacy."""
    return _commented(
        schema,
        f"THIS DRAFT IS DIFFERENTIALLY PRIVATE: epsilon {epsilon:g}, delta {delta:g}, charged to population",
        f"{schema.population!r}; the unit is a person with at most {schema.max_rows_per_subject} rows.",
        "It may be kept and shown at that price, with the names of the columns, which were taken to be public.",
        "Noise can be wrong: rare categories fall under `other`, bounds are cut to what is common, and a kind may be",
        "mistaken. For each column, check what it means, then set `reviewed: true` or delete the line.",
    )


def _commented(schema: Schema, *lines: str) -> str:
    reasons = {"identifier": "no value occurs twice", "text": "empty, free text, or values that too few people share"}
    left_out = [(name, column.kind) for name, column in schema.columns.items() if column.role == "drop"]
    warnings = [f"WARNING: column {name!r} is left out (role: drop): {reasons[kind]}." for name, kind in left_out]
    return "".join(f"# {line}\n" for line in (*lines, *warnings)) + schema.to_yaml()


@dataclass
class _Times:
    """How often each subject was seen. Counts are merged with others of their length alone, so that n rows cost n log n."""

    runs: list[pd.Series] = field(default_factory=list)

    def add(self, subjects: _Subjects) -> None:
        self.runs.append(pd.Series(subjects).value_counts(sort=False))
        while len(self.runs) > 1 and len(self.runs[-2]) <= 2 * len(self.runs[-1]):
            self.runs.append(self._merged(self.runs.pop(), self.runs.pop()))

    def most(self) -> int:
        """How often the subject was seen who was seen most."""
        return int(self._merged(*self.runs).max())

    @staticmethod
    def _merged(*runs: pd.Series) -> pd.Series:
        merged: pd.Series = pd.concat(runs).groupby(level=0, sort=False).sum()
        return merged


@dataclass
class _Extremes:
    """The k subjects with the lowest values and the k with the highest, each with that value."""

    k: int
    lowest: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))
    highest: pd.Series = field(default_factory=lambda: pd.Series(dtype=float))

    def add(self, values: npt.NDArray[np.float64], subjects: _Subjects) -> None:
        finite = np.isfinite(values)
        seen = pd.Series(values[finite], index=subjects[finite])
        if len(seen):
            parts = [part for part in (self.lowest, seen) if len(part)]
            self.lowest = pd.concat(parts).groupby(level=0).min().nsmallest(self.k)
            parts = [part for part in (self.highest, seen) if len(part)]
            self.highest = pd.concat(parts).groupby(level=0).max().nlargest(self.k)

    def bounds(self) -> tuple[float, float]:
        """The k-th lowest and the k-th highest value; in a table of fewer than 2k subjects they may come crossed."""
        low, high = sorted((float(self.lowest.iloc[-1]), float(self.highest.iloc[-1])))
        return low, high


@dataclass
class _Evidence:
    """What a column showed so far, in bounded memory."""

    k: int
    nulls: int = 0
    filled: int = 0
    letters: int = 0
    kinds: set[_Kind] = field(default_factory=lambda: {"boolean", "integer", "number", "moment"})
    rows: Counter[str] = field(default_factory=Counter)
    holders: dict[str, set[int]] = field(default_factory=dict)
    overflowed: bool = False
    numbers: _Extremes = field(init=False)
    moments: _Extremes = field(init=False)

    def __post_init__(self) -> None:
        self.numbers, self.moments = _Extremes(self.k), _Extremes(self.k)

    def add(self, series: pd.Series, subjects: _Subjects) -> None:
        places, texts = distinct_texts(series)
        blank = np.array([not text for text in texts] + [True])
        filled = ~blank[places]
        self.nulls += int((~filled).sum())
        self.filled += int(filled.sum())
        self._weigh_kinds([text for text in texts if text])
        if "number" in self.kinds:
            self.numbers.add(np.array([*map(parse_number, texts), math.nan])[places], subjects)
        if "moment" in self.kinds:
            since = [parse_microseconds(text, EPOCH) for text in texts]
            self.moments.add(np.array([*since, math.nan])[places], subjects)
        if not self.overflowed:
            self._count(places[filled], texts, subjects[filled])

    def _weigh_kinds(self, texts: list[str]) -> None:
        """Rules out every kind that one of the texts contradicts."""
        if "boolean" in self.kinds and not all(text.lower() in ("true", "false") for text in texts):
            self.kinds.discard("boolean")
        if "number" in self.kinds and not all(is_number(text) for text in texts):
            self.kinds -= {"number", "integer"}
        if "integer" in self.kinds and not all(parse_number(text).is_integer() for text in texts):
            self.kinds.discard("integer")
        if "moment" in self.kinds and any(math.isnan(parse_microseconds(text, EPOCH)) for text in texts):
            self.kinds.discard("moment")

    def _count(self, places: npt.NDArray[np.intp], texts: list[str], subjects: _Subjects) -> None:
        for place, times in zip(*np.unique(places, return_counts=True), strict=True):
            self.rows[texts[place]] += int(times)
            self.letters += len(texts[place])
        pairs = pd.DataFrame({"place": places, "subject": subjects}).drop_duplicates().groupby("place").head(self.k)
        for place, holder in zip(pairs["place"].tolist(), pairs["subject"].tolist(), strict=True):
            held = self.holders.setdefault(texts[place], set())
            if len(held) < self.k:
                held.add(holder)
        if len(self.rows) > MAX_DISTINCT:
            self.overflowed = True
            self.holders = {}

    @property
    def all_distinct(self) -> bool:
        """Whether no value was seen twice, as far as values were counted."""
        return self.filled > 1 and max(self.rows.values()) == 1

    def common(self) -> list[str]:
        """The values that at least k subjects hold, at most MAX_CATEGORIES of them, in alphabetical order."""
        held = [text for text, holders in self.holders.items() if len(holders) >= self.k]
        return sorted(sorted(held, key=lambda text: (-self.rows[text], text))[:MAX_CATEGORIES])


def is_number(text: str) -> bool:
    """Whether a text is a number, and not a code of digits."""
    # a leading zero is a code's (a post code's), and would be lost in a number
    has_leading_zero = re.match(r"[+-]?0\d", text) is not None
    return not has_leading_zero and (not math.isnan(parse_number(text)) or text.lower() == "nan")


def check_names(columns: Iterable[object], target: str | None, subject: str | None) -> None:
    """Raises InputError where columns repeat or the named ones are not there."""
    names = [str(name) for name in columns]
    repeated = sorted(name for name, times in Counter(names).items() if times > 1)
    if repeated:
        raise InputError(f"the table has several columns of one name: {repeated}", hint="rename them")
    for asked, role in ((target, "target"), (subject, "subject")):
        if asked is not None and asked not in names:
            raise InputError(f"the {role} column {asked!r} is not in the table; it has {names}")
    if target is not None and target == subject:
        raise InputError(f"column {target!r} cannot be both the target and the subject")


def _subjects(chunk: pd.DataFrame, subject: str | None, *, start: int) -> _Subjects:
    """A number per row that is equal for rows of one subject."""
    if subject is None:
        return np.arange(start, start + len(chunk), dtype=np.uint64)
    places, texts = distinct_texts(chunk[subject])
    hashes: _Subjects = pd.util.hash_array(np.array([*texts, ""], dtype=object))
    return hashes[places]


def _guess(seen: _Evidence, name: str, *, is_target: bool) -> Column:
    if is_target:
        return _guess_target(seen, name)
    missing = seen.nulls > 0
    if not seen.filled:
        return Column(kind="text", role="drop", reviewed=False)
    if "boolean" in seen.kinds:
        return Column(kind="boolean", missing=missing, reviewed=False)
    if seen.all_distinct and ("integer" in seen.kinds or not seen.kinds):
        is_prose = seen.letters > 20 * len(seen.rows)
        return Column(kind="text" if is_prose else "identifier", role="drop", reviewed=False)
    found = _number_column(seen, missing=missing) or _moment_column(seen, missing=missing)
    return found or _category_column(seen, missing=missing) or Column(kind="text", role="drop", reviewed=False)


def _guess_target(seen: _Evidence, name: str) -> Column:
    if not seen.filled:
        raise InputError(f"the target column {name!r} is empty")
    found = None
    if len(seen.rows) <= MAX_CLASSES:
        found = _category_column(seen, missing=False) or _all_rare()
    found = found or _number_column(seen, missing=False)
    if found is None:
        raise InputError(
            f"the target column {name!r} has more than {MAX_CLASSES} different texts; a target is a number or a class",
            hint="name another --target",
        )
    changes: dict[str, object] = {"role": "target"}
    if seen.nulls and found.out_of_domain == "reject":
        changes["out_of_domain"] = "drop"  # a row without its target can neither train nor test
    return found.model_copy(update=changes)


def _all_rare() -> Column:
    return Column(kind="categorical", categories=("other",), other="other", reviewed=False)


def _category_column(seen: _Evidence, *, missing: bool) -> Column | None:
    """The categories enough subjects hold, and one for the rest; None where no value is that common."""
    common = seen.common()
    if not common:
        return None
    if len(common) == len(seen.rows):
        return Column(kind="categorical", categories=tuple(common), missing=missing, reviewed=False)
    other = name_for_other(seen.rows)
    return Column(kind="categorical", categories=(*common, other), other=other, missing=missing, reviewed=False)


def name_for_other(taken: Container[str]) -> str:
    """A name for the category of all other values that none of those taken has."""
    other = "other"
    while other in taken:
        other += " (rare)"
    return other


def _number_column(seen: _Evidence, *, missing: bool) -> Column | None:
    if "number" not in seen.kinds or seen.numbers.lowest.empty:
        return None
    is_integer = "integer" in seen.kinds
    low, high = _round_outward(*seen.numbers.bounds(), smallest=1.0 if is_integer else 0.0)
    if not math.isfinite(high - low):
        return None
    kind: Literal["integer", "continuous"] = (
        "integer" if is_integer and max(abs(low), abs(high)) <= EXACT_INTEGER else "continuous"
    )
    return Column(kind=kind, bounds=(low, high), missing=missing, out_of_domain="clip", reviewed=False)


def _round_outward(low: float, high: float, *, smallest: float) -> tuple[float, float]:
    """Bounds moved outward to multiples of 1, 2 or 5 times a power of ten, a tenth of their distance or more."""
    size = max(abs(low), abs(high))
    span = high - low if high > low else size
    step = max(_series_125(max(span / 10, size * 1e-12, 1e-300)), smallest)
    digits = max(0, -math.floor(math.log10(step)))
    return round(math.floor(low / step) * step, digits), round(math.ceil(high / step) * step, digits)


def _series_125(size: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is not below `size`."""
    power = math.floor(math.log10(size))
    # float("2e-3") is the nearest float to the decimal; 2 * 10.0**-3 need not be
    return next(step for step in (float(f"{d}e{power}") for d in (1, 2, 5, 10)) if step >= size * (1 - 1e-12))


def _moment_column(seen: _Evidence, *, missing: bool) -> Column | None:
    if "moment" not in seen.kinds or seen.moments.lowest.empty:
        return None
    low, high = (EPOCH + dt.timedelta(microseconds=since) for since in seen.moments.bounds())
    last = min(high.year + 1, dt.MAXYEAR)
    first = max(low.year, last - LONGEST_SPAN)
    bounds = (dt.datetime(first, 1, 1), dt.datetime(last, 1, 1))
    return Column(kind="datetime", bounds=bounds, missing=missing, out_of_domain="clip", reviewed=False)


def draft(columns: dict[str, Column], subject: str | None, **fields: Any) -> Schema:
    """A schema of guessed columns; raises InputError where none can be made of them."""
    try:
        return Schema(subject=subject or ROW_SUBJECT, columns=columns, **fields)
    except ValidationError as error:
        faults = "; ".join(fault["msg"] for fault in error.errors())
        raise InputError(f"no schema can be guessed for this table: {faults}", hint="write it by hand") from None
