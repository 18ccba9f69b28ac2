"""A marginal generator's price: (epsilon, delta) per subject, spent as one zCDP budget."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from workbench.privacy.accounting import dpa
from workbench.privacy.calibration import zcdp_rho


@dataclass(frozen=True, kw_only=True)
class Priced:
    """A fit that is (epsilon, delta) differentially private per subject, add/remove.

    Guarantees:
      - a fit costs `event`, whatever the rows; it learns of them through its notebook alone, which `rho` bounds
      - the number of rows is private: what a fitted model's `total` holds is a noisy one
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        zcdp_rho(self.epsilon, self.delta)

    @cached_property
    def rho(self) -> float:
        """The zCDP budget of one fit."""
        return zcdp_rho(self.epsilon, self.delta)

    @property
    def event(self) -> dpa.ZCDpEvent:
        """What one fit costs, to be charged before it."""
        return dpa.ZCDpEvent(self.rho)
