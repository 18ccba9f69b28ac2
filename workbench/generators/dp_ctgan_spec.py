"""DP-CTGAN as the workbench offers it; see `dp_ctgan`."""

from typing import Annotated

from pydantic import Field, StrictInt

from workbench.generators.registry import GeneratorSpec, PrivateSettings
from workbench.specs import Deferred


class DpCtganSettings(PrivateSettings):
    """A network trained by steps of DP-SGD."""

    steps: Annotated[StrictInt, Field(ge=1)] | None = Field(
        default=None,
        description="How many steps of DP-SGD are taken; the noise of each follows from it, so that the whole costs "
        "epsilon. Left out: 300.",
    )


_GENERATOR = Deferred("workbench.generators.dp_ctgan:DpCtgan")
_CHECK = Deferred("workbench.generators.dp_ctgan:check_cells")

SPEC = GeneratorSpec(
    name="dp_ctgan",
    label="DP-CTGAN: a neural network, wants a larger ε",
    rank=4,
    settings=DpCtganSettings,
    private=True,
    make=lambda settings: _GENERATOR(**settings.model_dump(exclude_none=True)),
    load=Deferred("workbench.generators.dp_ctgan:load_dp_ctgan"),
    check=lambda _, codec: _CHECK(codec),
)
