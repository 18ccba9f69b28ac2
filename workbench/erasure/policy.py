"""How a data set's erasures are handled: declared in YAML, kept with the data set."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, FiniteFloat, model_validator

from workbench.described import Described


class ErasurePolicy(Described):
    """How the erasure requests of a data set are handled; `workbench policy` declares all of it anew, each time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    approval: Literal["none", "required"] = "none"
    """Whether a person must approve each request. It is under quarantine at once all the same."""
    due_days: Annotated[int, Field(ge=1, le=90)] = 28
    """Days until a request is overdue. GDPR Art. 12(3) allows one month."""
    suppression: bool = True
    """Whether a keyed token of the erased stays, to refuse them at re-ingest and restore. It is the one thing about
    a person that stays.
    """
    private: Literal["keep_private", "retire", "remeasure"] = "keep_private"
    """What happens to differentially private generators and releases: kept with their epsilon; retired; or measured
    again on what remains, at their own epsilon, charged anew, and retired where the budget refuses.
    """
    nonprivate: Literal["retire", "refit"] = "retire"
    """What happens to generators without differential privacy that were fitted to an erased person, and to their
    releases: retired, or fitted again on what remains.
    """
    window_hours: Annotated[int, Field(ge=0)] = 0
    """Requests accepted within a window are carried out together after its end, so that nobody chooses when a
    version is published: a divisor or a multiple of 24; 0 is at once.
    """
    max_per_day: Annotated[int, Field(ge=1)] | None = None
    """Requests beyond so many in 24 hours wait for approval."""
    max_retrain_seconds: Annotated[FiniteFloat, Field(ge=0)] | None = None
    """Requests whose retraining is predicted to take longer wait for approval."""
    four_eyes: bool = False
    """Whoever handed a request in may not be the one who approves it."""

    @model_validator(mode="after")
    def _windows_end_at_fixed_times(self) -> Self:
        if self.window_hours and 24 % self.window_hours and self.window_hours % 24:
            raise ValueError(
                f"windows of {self.window_hours} hours do not fit days: give a divisor or a multiple of 24"
            )
        if self.window_hours > 24 * self.due_days:
            raise ValueError(
                f"a window of {self.window_hours} hours is longer than the {self.due_days} days until it is due"
            )
        return self
