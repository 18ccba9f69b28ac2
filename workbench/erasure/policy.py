"""How a data set's erasures are handled: declared in YAML, kept with the data set."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class ErasurePolicy(BaseModel):
    """`approval`: whether a person must approve each request. `due_days`: when it is due (GDPR Art. 12(3): one month).

    `suppression`: whether a keyed token stays to refuse the person at re-ingest and restore. `private`: what happens to
    differentially private generators and releases: kept with their epsilon, retired, or measured again on what remains, at
    their own epsilon, charged to the ledger anew (retired where it refuses).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    approval: Literal["none", "required"] = "none"
    due_days: Annotated[int, Field(ge=1, le=90)] = 28
    suppression: bool = True
    private: Literal["keep_private", "retire", "remeasure"] = "keep_private"
