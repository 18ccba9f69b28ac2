"""How a data set's erasures are handled: declared in YAML, kept with the data set."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator


class ErasurePolicy(BaseModel):
    """`approval`: whether a person must approve each request. `due_days`: when it is due (GDPR Art. 12(3): one month).

    `suppression`: whether a keyed token stays to refuse the person at re-ingest and restore. `private`: what happens to
    differentially private generators and releases: kept with their epsilon, retired, or measured again on what remains, at
    their own epsilon, charged to the ledger anew (retired where it refuses). `nonprivate`: what happens to the others, where
    one of their training subjects is erased: retired, or fitted again on what remains.

    `window_hours`: requests accepted within a window are carried out together after its end, so that nobody chooses when a
    version is published; 0: at once. Beyond `max_per_day` requests, and where training again is predicted to take longer
    than `max_retrain_seconds`, a request waits for approval. `four_eyes`: who handed a request in may not approve it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    approval: Literal["none", "required"] = "none"
    due_days: Annotated[int, Field(ge=1, le=90)] = 28
    suppression: bool = True
    private: Literal["keep_private", "retire", "remeasure"] = "keep_private"
    nonprivate: Literal["retire", "refit"] = "retire"
    window_hours: Annotated[int, Field(ge=0)] = 0
    max_per_day: Annotated[int, Field(ge=1)] | None = None
    max_retrain_seconds: Annotated[FiniteFloat, Field(ge=0)] | None = None
    four_eyes: bool = False

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
