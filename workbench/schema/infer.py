"""Proposes a schema by reading a table: a draft for a person to correct, never a domain to rely on as it stands.

What the draft takes from the data is blunted, not private: no category that fewer than k subjects hold is named, no
bound is set by fewer than k subjects, and bounds are rounded outward. Only a review, or a domain known from elsewhere,
makes it public.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import ValidationError

from workbench.errors import InputError
from workbench.schema.column import Column
from workbench.schema.encode import distinct_texts
from workbench.schema.kinds.coded import MAX_CATEGORIES as MAX_CATEGORIES
from workbench.schema.kinds.kind import Axis, ColumnKind, Ends, Fields
from workbench.schema.kinds.numeric import series_125
from workbench.schema.kinds.registry import KINDS, guessed
from workbench.schema.schema import ROW_SUBJECT, Schema

MAX_DISTINCT = 50_000  # beyond it a column's values are no longer counted, so that memory stays bounded
_ALL_RARE: Fields = {"kind": "categorical", "categories": ("other",), "other": "other"}
MAX_CLASSES = 20  # a target with more values is a number to predict, not a class

_Subjects = npt.NDArray[np.uint64]


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
    return draft(columns, subject, max_rows_per_subject=math.ceil(series_125(most_rows)))


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
    left_out = [(name, column.spec.left_out) for name, column in schema.columns.items() if column.role == "drop"]
    warnings = [f"WARNING: column {name!r} is left out (role: drop): {reason}." for name, reason in left_out]
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


def kinds_with_a_form() -> dict[str, ColumnKind]:
    """Return the kinds that a text can have the form of, in the order of their turns."""
    return {kind.name: kind for kind in guessed() if type(kind).is_of is not ColumnKind.is_of}


@dataclass
class _Evidence:
    """What a column showed so far, in bounded memory."""

    k: int
    nulls: int = 0
    filled: int = 0
    letters: int = 0
    open_forms: dict[str, ColumnKind] = field(default_factory=kinds_with_a_form)
    rows: Counter[str] = field(default_factory=Counter)
    holders: dict[str, set[int]] = field(default_factory=dict)
    overflowed: bool = False
    extremes: dict[Axis, _Extremes] = field(default_factory=dict)

    def add(self, series: pd.Series, subjects: _Subjects) -> None:
        places, texts = distinct_texts(series)
        blank = np.array([not text for text in texts] + [True])
        filled = ~blank[places]
        self.nulls += int((~filled).sum())
        self.filled += int(filled.sum())
        self._weigh_forms([text for text in texts if text])
        for axis in {kind.axis: None for kind in self.open_forms.values() if kind.axis is not None}:
            seen = self.extremes.setdefault(axis, _Extremes(self.k))
            seen.add(np.array([*map(axis.read, texts), math.nan])[places], subjects)
        if not self.overflowed:
            self._count(places[filled], texts, subjects[filled])

    def _weigh_forms(self, texts: list[str]) -> None:
        """Rules out every kind whose form one of the texts has not."""
        held: dict[str, ColumnKind] = {}
        for name, kind in self.open_forms.items():  # narrower forms have their turn first
            if kind.narrower & held.keys() or all(map(kind.is_of, texts)):
                held[name] = kind
        self.open_forms = held

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
    def distinct(self) -> Collection[str]:
        """The texts that were seen, as far as they were counted."""
        return self.rows

    @property
    def forms(self) -> Collection[str]:
        """The kinds whose form every text has."""
        return self.open_forms if self.filled else ()

    @property
    def looks_like_keys(self) -> bool:
        """Whether no value was seen twice, as far as values were counted, and values could be keys or prose."""
        all_differ = self.filled > 1 and max(self.rows.values()) == 1
        return all_differ and (not self.forms or any(kind.may_be_keys for kind in self.open_forms.values()))

    @property
    def is_prose(self) -> bool:
        """Whether values are long."""
        return self.letters > 20 * len(self.rows)

    def ends(self, axis: Axis) -> Ends | None:
        """The lowest and the highest number that enough subjects reach; None where there is none."""
        seen = self.extremes.get(axis)
        return None if seen is None or seen.lowest.empty else seen.bounds()

    def common(self) -> list[str]:
        """The values that at least k subjects hold, at most MAX_CATEGORIES of them, in alphabetical order."""
        held = [text for text, holders in self.holders.items() if len(holders) >= self.k]
        return sorted(sorted(held, key=lambda text: (-self.rows[text], text))[:MAX_CATEGORIES])


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
    guesses = (kind.guess(seen, missing=seen.nulls > 0) for kind in guessed())
    found = next((guess for guess in guesses if guess is not None), {"kind": "text", "role": "drop"})
    return Column(**found, reviewed=False)


def _guess_target(seen: _Evidence, name: str) -> Column:
    if not seen.filled:
        raise InputError(f"the target column {name!r} is empty")
    numbers = (kind.guess(seen, missing=False) for kind in guessed() if kind.level == "ratio")
    found = next((guess for guess in numbers if guess is not None), None)
    if len(seen.rows) <= MAX_CLASSES:
        found = KINDS["categorical"].guess(seen, missing=False) or _ALL_RARE
    if found is None:
        raise InputError(
            f"the target column {name!r} has more than {MAX_CLASSES} different texts; a target is a number or a class",
            hint="name another --target",
        )
    column = Column(**found, reviewed=False)
    changes: dict[str, object] = {"role": "target"}
    if seen.nulls and column.out_of_domain == "reject":
        changes["out_of_domain"] = "drop"  # a row without its target can neither train nor test
    return column.model_copy(update=changes)


def draft(columns: dict[str, Column], subject: str | None, **fields: Any) -> Schema:
    """A schema of guessed columns; raises InputError where none can be made of them."""
    try:
        return Schema(subject=subject or ROW_SUBJECT, columns=columns, **fields)
    except ValidationError as error:
        faults = "; ".join(fault["msg"] for fault in error.errors())
        raise InputError(f"no schema can be guessed for this table: {faults}", hint="write it by hand") from None
