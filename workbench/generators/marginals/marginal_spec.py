"""What the specs of all marginal generators have in common; each names its method alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, StrictInt

from workbench.generators.outlook import Forecast
from workbench.generators.registry import GeneratorSpec, PrivateSettings
from workbench.specs import Deferred

if TYPE_CHECKING:  # else imported when one is made
    from workbench.generators.marginals.table import MarginalGenerator, Method
    from workbench.schema import Codec

_GENERATOR = Deferred("workbench.generators.marginals.table:MarginalGenerator")


class MarginalSettings(PrivateSettings):
    """A marginal generator also takes groups of people that are measured apart."""

    shards: Annotated[StrictInt, Field(ge=1, le=1024)] = 1


def marginal_spec(
    name: str, method: Callable[..., Method], *, label: str, rank: int
) -> GeneratorSpec[MarginalSettings]:
    """Return the spec of the generator whose measurements `method` makes, given epsilon and delta."""

    def make(settings: MarginalSettings) -> MarginalGenerator:
        made: MarginalGenerator = _GENERATOR(
            method=method(epsilon=settings.epsilon, delta=settings.delta), shards=settings.shards
        )
        return made

    def forecast(settings: MarginalSettings, codec: Codec, per_subject: int) -> Forecast:
        said: Forecast = make(settings).forecast(name, codec, per_subject)
        return said

    return GeneratorSpec(
        name=name,
        label=label,
        rank=rank,
        settings=MarginalSettings,
        private=True,
        make=make,
        load=Deferred("workbench.generators.marginals.table:load_table"),
        check=lambda settings, codec: forecast(settings, codec, 1),
        forecast=forecast,
    )
