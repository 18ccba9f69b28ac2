"""What the workflows of synthesis return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from workbench.generators.outlook import Forecast
from workbench.metrics.estimate import Estimate
from workbench.workflows.datasets.results import EpsilonDelta
from workbench.workflows.result import Result

Figure = float | Estimate


@dataclass(frozen=True, kw_only=True)
class Figures(Result):
    """Figures of a release by name, and the reason of each that was not measured; no reason tells a value of a row."""

    metrics: Mapping[str, Figure]
    not_measured: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class SynthesizeResult(Result):
    """A generator and its release; epsilon and delta where it is private. Figures are as in `Figures`, and internal."""

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"epsilon", "delta"})

    generator: str
    release: str
    path: Path
    rows: int
    private: bool
    epsilon: float | None
    delta: float | None
    metrics: Mapping[str, Figure]
    not_measured: Mapping[str, str]
    mlflow_run: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Drawn(Result):
    """Rows that were drawn from a generator, and the export that they are on record as."""

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"private", "epsilon", "delta"})

    generator: str
    export: str
    rows: int
    private: bool | None
    epsilon: float | None
    delta: float | None


@dataclass(frozen=True, kw_only=True)
class SampleResult(Drawn):
    """The same, with the file that holds them."""

    path: Path
    seconds: float


@dataclass(frozen=True, kw_only=True)
class MeasureResult(Result):
    """The figures of a release on the records as they are now; they are internal."""

    dataset: str
    release: str
    figures: Mapping[str, Figure]


@dataclass(frozen=True, kw_only=True)
class PreflightPrivacy(Result):
    """What a fit will cost: its own epsilon and delta, and what its population has spent before and after it.

    `epsilon_of_this_run` is its price at the delta of the budget; `budget` is None where none is set.
    """

    epsilon: float
    delta: float
    epsilon_of_this_run: float
    spent_before: float
    spent_after: float
    budget: EpsilonDelta | None
    allowed: bool


@dataclass(frozen=True, kw_only=True)
class PreflightResult(Result):
    """What a synthesis will cost and take: `privacy` where it is private, `forecast` of a marginal generator."""

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"privacy", "forecast"})

    generator: str
    dataset: str
    private: bool
    privacy: PreflightPrivacy | None
    forecast: Forecast | None

    def to_json(self) -> dict[str, Any]:
        """Return the result with the keys of the forecast beside the others."""
        shown = super().to_json()
        forecast: dict[str, Any] = shown.pop("forecast", {})
        return shown | forecast


@dataclass(frozen=True, kw_only=True)
class JointFit(Result):
    """Whether the ledger would take a fit after those before it, and the spend then."""

    allowed: bool
    spent_after: float


@dataclass(frozen=True, kw_only=True)
class JointPreflightResult(Result):
    """What a population has spent, and would have spent after several fits."""

    population: str
    spent_before: float
    spent_after: float
    runs: tuple[JointFit, ...]
