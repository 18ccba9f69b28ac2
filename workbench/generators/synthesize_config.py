"""What `workbench synthesize` reads: a generator by name, and the settings that the generators of the registry take."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, FiniteFloat, StrictInt, model_validator

from workbench.described import Described
from workbench.generators.registry import GENERATORS, GeneratorSpec
from workbench.specs import Settings, SpecFields

MAX_ROWS = 100_000_000  # of a file of synthetic rows; more is a slip of the pen that would fill the disk


class SynthesizeConfig(Described):
    """What `workbench synthesize`, `audit` and `sweep` read: which generator is fitted to what, and at what price."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    generator: str
    """Which synthesizer. `aim` is the first choice, `mst` takes a tenth of the time, `independent` is the baseline;
    the table below says which ones are private.
    """
    dataset: str
    """The data set to learn from, by the name it was taken in under."""
    epsilon: Annotated[FiniteFloat, Field(gt=0)] | None = None
    """What the fit may reveal about any one person: the price, charged to the population's budget. 1 is strong,
    above 4 is weak. Private generators need it, the others refuse it.
    """
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    """How likely the guarantee of epsilon may fail: well under one over the number of people. With epsilon, or not
    at all.
    """
    rows: Annotated[StrictInt, Field(ge=1, le=MAX_ROWS)] | None = None
    """How many rows the release has. Left out: as many as there are, a noisy number where the generator is private."""
    shards: Annotated[StrictInt, Field(ge=1, le=1024)] = 1
    """Groups of people that are measured apart, so that an erasure can measure one again. The price is the square
    root of their number in noise.
    """

    @model_validator(mode="after")
    def _asks_for_what_there_is(self) -> Self:
        given = {"epsilon", "delta"} & {name for name in ("epsilon", "delta") if getattr(self, name) is not None}
        if self.private and len(given) < 2:
            raise ValueError(f"{self.generator} is differentially private: give epsilon and delta")
        if not self.private and given:
            raise ValueError(f"{self.generator} is not differentially private: it takes neither epsilon nor delta")
        for name, takers in _FIELDS.takers().items():
            is_asked = getattr(self, name) != type(self).model_fields[name].default
            if is_asked and self.generator not in takers:
                raise ValueError(f"{name} is for {', '.join(takers)}, not for {self.generator}")
        _ = self.settings  # which may have rules of their own
        return self

    @property
    def spec(self) -> GeneratorSpec[Any]:
        """The generator's spec."""
        return GENERATORS[self.generator]

    @property
    def settings(self) -> Settings:
        """What the generator itself is told."""
        settings: Settings = self.spec.settings.of(self)
        return settings

    @property
    def private(self) -> bool:
        """Whether the generator is differentially private."""
        return self.spec.private

    @property
    def budget(self) -> tuple[float, float]:
        """Epsilon and delta of a private generator."""
        assert self.epsilon is not None
        assert self.delta is not None
        return self.epsilon, self.delta


_FIELDS = SpecFields(
    SynthesizeConfig, "generator", GENERATORS, shared=frozenset({"epsilon", "delta", "shards"}), optional=False
)
