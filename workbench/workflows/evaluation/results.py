"""What evaluations, audits and reports return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from workbench.metrics.estimate import Estimate
from workbench.workflows.result import Result, plain


@dataclass(frozen=True, kw_only=True)
class EvaluationEntry(Result):
    """An evaluation that is kept, and what it is of; `made` is a time in UTC."""

    id: str
    of: str
    dataset: str
    made: str


@dataclass(frozen=True, kw_only=True)
class AttackResult(Result):
    """What one attack achieved, what stands against it (`against` says what that is), and the uses that set a bound."""

    attack: str
    estimate: Estimate
    baseline: Estimate | None
    ceiling: Estimate | None
    against: str | None
    better: str
    asked: bool
    holds: bool | None
    unfit: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Attacked(Result):
    """A release or an ensemble that was attacked."""

    of: str
    kind: str
    made: str
    attacks: tuple[AttackResult, ...]


@dataclass(frozen=True, kw_only=True)
class Claim(Result):
    """The privacy that a generator claims."""

    epsilon: float
    delta: float


@dataclass(frozen=True, kw_only=True)
class CanaryAudit(Result):
    """What an audit by canaries showed: a lower bound on epsilon, with its interval and number of guesses."""

    generator: str
    dataset: str
    private: bool
    claim: Claim | None
    canaries: int
    epsilon: Estimate
    refuted: bool
    charged: bool
    seconds: float


@dataclass(frozen=True, kw_only=True)
class KeptAudit(Result):
    """What is shown again of an audit that was kept; `made` is a time in UTC."""

    generator: str
    dataset: str
    claim: Claim | None
    epsilon: Estimate
    refuted: bool
    made: str

    @classmethod
    def from_json(cls, audit: Mapping[str, Any], *, made: str) -> KeptAudit:
        """Return an audit from the JSON that was kept of it."""
        return cls(
            generator=audit["generator"],
            dataset=audit["dataset"],
            claim=Claim(**audit["claim"]) if audit["claim"] else None,
            epsilon=Estimate(**audit["epsilon"]),
            refuted=audit["refuted"],
            made=made,
        )


@dataclass(frozen=True, kw_only=True)
class MembershipRow(Result):
    """How well one attack tells members from others at one moment; `hits` are true positive rates by false alarm rate."""

    of: str
    attack: str
    erasure: str
    auc: Estimate | None
    hits: Mapping[str, Estimate | None]

    def to_json(self) -> dict[str, Any]:
        """Return the row with one key per false alarm rate."""
        row = super().to_json()
        hits: dict[str, Any] = row.pop("hits")
        return row | hits


@dataclass(frozen=True, kw_only=True)
class Forgetting(Result):
    """How well erased people are recognised by attacks before and after trial erasures; internal."""

    ensemble: str
    version: int
    finding: str
    verdict: str
    compared: int
    equal: int
    erased: Mapping[str, int]
    siblings: int
    guessing: Mapping[str, float]
    attacks: tuple[MembershipRow, ...]
    not_computable: Mapping[str, str]
    note: str
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ReportFile(Result):
    """The page of an evaluation, and the uses that it is fit for: yes, no, or None where that was not shown."""

    evaluation: str
    html: Path
    fit_for: Mapping[str, bool | None]


@dataclass(frozen=True, kw_only=True)
class CardFile(Result):
    """The card of a release or an ensemble."""

    evaluation: str
    card: Path
    internal: bool


@dataclass(frozen=True, kw_only=True)
class CertificateFile(Result):
    """The page of a certificate whose signature holds."""

    certificate: Path
    html: Path
    signed_by: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ComparedFigure(Result):
    """One figure of several evaluations; `values` by what was evaluated, None where it has no value."""

    figure: str
    better: str
    values: Mapping[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """Return the figure with one key per evaluation."""
        return {"figure": self.figure, "better": self.better, **self.values}


@dataclass(frozen=True, kw_only=True)
class Comparison(Result):
    """Several evaluations side by side."""

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"html"})

    compared: tuple[str, ...]
    figures: tuple[ComparedFigure, ...]
    html: Path | None


@dataclass(frozen=True, kw_only=True)
class SweptRelease(Result):
    """One release of a sweep, with the figures that are shown and the uses that it is fit for."""

    release: str
    generator: str
    epsilon: float | None
    figures: Mapping[str, float]
    uses: Mapping[str, bool | None]

    def to_json(self) -> dict[str, Any]:
        """Return the release with one key per figure and per use."""
        of = {"release": self.release, "generator": self.generator, "epsilon": self.epsilon}
        return {**of, **self.figures, **self.uses}


@dataclass(frozen=True, kw_only=True)
class Sweep(Result):
    """The releases of a sweep and the MLflow run that compares them."""

    LEFT_OUT: ClassVar[frozenset[str]] = frozenset({"html"})

    releases: tuple[SweptRelease, ...]
    mlflow_run: str
    note: str
    html: Path | None


@dataclass(frozen=True, kw_only=True)
class PlannedFit(Result):
    """A fit of a sweep, with the seconds that it is expected to take."""

    generator: str
    epsilon: float | None
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class SweepCost(Result):
    """What the private fits of a sweep spend together; epsilons at the budget's delta."""

    spent_before: float
    spent_after: float
    budget: Claim | None


@dataclass(frozen=True, kw_only=True)
class SweepPlan(Result):
    """What a sweep would cost; `cost` is None where no fit is private."""

    fits: tuple[PlannedFit, ...]
    cost: SweepCost | None
    allowed: bool

    def to_json(self) -> dict[str, Any]:
        """Return the plan with the cost's fields among its own."""
        cost = self.cost.to_json() if self.cost else {}
        return {"fits": plain(self.fits), **cost, "allowed": self.allowed}


@dataclass(frozen=True, kw_only=True)
class DrawnShard(Result):
    """A shard as the shard map draws it; `seconds` of its last training."""

    shard: int
    state: str
    generation: int
    slices: int
    first_redone: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TradeoffPoint(Result):
    """A release in the chart of utility against epsilon; `this` marks the one that is evaluated."""

    id: str
    generator: str
    epsilon: float | None
    utility: Any
    this: bool
