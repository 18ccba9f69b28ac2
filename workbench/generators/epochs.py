"""The setting that generators of the ctgan library share."""

from typing import Annotated

from pydantic import Field, StrictInt

from workbench.specs import Settings


class EpochsSettings(Settings):
    """A network that is trained for so many epochs."""

    epochs: Annotated[StrictInt, Field(ge=1)] | None = Field(
        default=None, description="How often the training goes over all rows. Left out: 300."
    )
