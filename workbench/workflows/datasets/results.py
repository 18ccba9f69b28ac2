"""What the workflows of data sets return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from workbench.workflows.result import Result

Stretch = tuple[float, float, float]  # from and to on a hash line of 0 to 1, and the epsilon spent there


@dataclass(frozen=True, kw_only=True)
class RehearsalResult(Result):
    """What an ingest would store: rows by split, rows left out by the rule that leaves them out, and rows clipped to bounds."""

    rows: Mapping[str, int]
    left_out: Mapping[str, int]
    clipped: int


@dataclass(frozen=True, kw_only=True)
class IngestResult(Result):
    """What an ingest stored, counted as in `RehearsalResult`; `unreviewed` columns have a domain that was guessed from rows."""

    dataset: str
    rows: Mapping[str, int]
    subjects: Mapping[str, int]
    left_out: Mapping[str, int]
    clipped: int
    unreviewed: tuple[str, ...]
    mlflow_run: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class AppendResult(Result):
    """What an append added, counted as in `RehearsalResult`; `stale` are the ensembles that have not seen the new rows."""

    dataset: str
    appended_rows: Mapping[str, int]
    new_subjects: Mapping[str, int]
    left_out: Mapping[str, int]
    clipped: int
    stale: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class SchemaDraft(Result):
    """A draft of a schema: its file, and the names of columns to review and of those it drops."""

    schema: Path
    columns: int
    unreviewed: tuple[str, ...]
    dropped: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class GuessedSchema(SchemaDraft):
    """A draft whose domains were guessed from the rows."""

    read_the_data: Literal[True] = True


@dataclass(frozen=True, kw_only=True)
class PrivateSchema(SchemaDraft):
    """A draft that is differentially private, and what it cost its population."""

    private: Literal[True] = True
    population: str
    epsilon: float
    delta: float


@dataclass(frozen=True, kw_only=True)
class ColumnProfile(Result):
    """The cells of a column with the share of rows in each, 0 to 1; cells of few rows are one, which has no name."""

    column: str
    cells: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class ProfileResult(Result):
    """The profile of a data set's training rows."""

    dataset: str
    rows: int
    columns: tuple[ColumnProfile, ...]


@dataclass(frozen=True, kw_only=True)
class EpsilonDelta(Result):
    """The two numbers of a budget."""

    epsilon: float
    delta: float


@dataclass(frozen=True, kw_only=True)
class RaiseResult(Result):
    """A raise of a budget after the first charge, see `privacy.raises.Raise`; `sentence` is its text for people."""

    at: str
    actor: str
    before: float
    to: float
    releases: int
    promised: float
    reason: str | None
    delta_before: float
    delta: float
    kept: bool
    sentence: str


@dataclass(frozen=True, kw_only=True)
class BudgetResult(Result):
    """A population's budget as it was set; `dataset` is the one that named the population, if any.

    `ceiling` is the most that epsilon may become without a broken promise, None where none was declared.
    """

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"dataset"})

    dataset: str | None = None
    population: str
    budget: EpsilonDelta
    ceiling: float | None
    raises: tuple[RaiseResult, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class HeldResult(Result):
    """Why a budget counts as spent after a restore: up to when, and to which journal entry, charges are known."""

    known_until: str
    journal_entry: int
    notice: str


@dataclass(frozen=True, kw_only=True)
class StatementResult(Result):
    """What a person stated about a population, see `privacy.holds.Statement`; `sentence` is its text for people."""

    id: str
    at: str
    actor: str
    kind: Literal["nothing_charged", "same_people", "raised"]
    population: str
    about: str
    text: str
    reason: str
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Spent(Result):
    """What a population has spent: the highest place of its hash lines, by Rényi accounting.

    `epsilon_pld` is the same by privacy-loss distributions, None where they don't apply; `epsilon_filter` that at the one
    order by which charges are admitted.
    """

    epsilon: float
    delta: float
    epsilon_pld: float | None
    epsilon_filter: float


@dataclass(frozen=True, kw_only=True)
class ChargeResult(Result):
    """A charge: its event as JSON, its price alone (None without a budget), and the stretches of 0 to 1 that it concerns."""

    created: str
    dataset: str
    purpose: str
    event: Mapping[str, Any]
    epsilon: float | None
    scope: tuple[tuple[float, float], ...]
    identity_type: str | None
    adjacency: str
    actor: str
    uid: str


@dataclass(frozen=True, kw_only=True)
class LedgerResult(Result):
    """A population's budget, what is spent of it, and each charge.

    `along` is the spend of each stretch, `along_by_type` the same for the line of each identity type; `over_by` is how much is
    spent beyond the budget.
    """

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"dataset"})

    dataset: str | None = None
    population: str
    budget: EpsilonDelta | None
    ceiling: float | None
    raises: tuple[RaiseResult, ...]
    warnings: tuple[str, ...]
    along: tuple[Stretch, ...]
    held: HeldResult | None
    statements: tuple[StatementResult, ...]
    along_by_type: Mapping[str, tuple[Stretch, ...]]
    spent: Spent
    over_by: float
    entries: tuple[ChargeResult, ...]
