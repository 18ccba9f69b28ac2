"""The generators by name, from their specs; each one's libraries are imported only where it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from pydantic import Field, FiniteFloat

from workbench.errors import InputError
from workbench.generators.outlook import Forecast
from workbench.specs import Registry, Settings

if TYPE_CHECKING:  # else imported with what is made: names and settings need none of it
    from workbench.generators.generator import FittedGenerator, Generator
    from workbench.generators.synthesize_config import SynthesizeConfig
    from workbench.schema import Codec

S = TypeVar("S", bound=Settings)


class PrivateSettings(Settings):
    """What every differentially private generator takes."""

    epsilon: Annotated[FiniteFloat, Field(gt=0)]
    delta: Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class GeneratorSpec(Generic[S]):
    """What the workbench knows of a generator before it is made.

    `private`: each fit costs the `event` of what `make` gives, and the ledger is charged with it; if not, releases are
    quarantined and withdrawn with the people they were made from. `check` raises InputError where the public schema is too
    wide or too fine. `forecast` says what a fit will take, from the settings, the codec and the most rows of a subject.
    """

    name: str
    label: str
    settings: type[S]
    private: bool
    make: Callable[[S], Generator]
    load: Callable[[Path, Codec], FittedGenerator]
    check: Callable[[S, Codec], object] | None = None
    forecast: Callable[[S, Codec, int], Forecast] | None = None
    rank: int = 100

    def __post_init__(self) -> None:
        if self.private != issubclass(self.settings, PrivateSettings):
            raise InputError(
                f"{self.name}: the settings of a private generator, and of no other, have epsilon and delta",
                hint="derive them from PrivateSettings",
            )


GENERATORS: Registry[GeneratorSpec[Any]] = Registry("workbench.generators", what="generator")


def generator_of(config: SynthesizeConfig) -> Generator:
    """Return the generator that a config asks for."""
    return config.spec.make(config.settings)


def check_size(config: SynthesizeConfig, codec: Codec) -> None:
    """Raise InputError, from the public schema alone, where a table is too wide or too fine for its generator."""
    if config.spec.check is not None:
        config.spec.check(config.settings, codec)


def forecast(config: SynthesizeConfig, codec: Codec, *, per_subject: int) -> Forecast | None:
    """Return what a fit will take, None where its generator does not say; raise InputError where it is too much."""
    said = config.spec.forecast
    return None if said is None else said(config.settings, codec, per_subject)


def load_generator(kind: str, folder: Path, codec: Codec) -> FittedGenerator:
    """Return a fitted generator of that kind as it was saved; raise InputError where a file is missing or damaged."""
    spec = GENERATORS.get(kind)
    if spec is None:
        raise InputError(f"no generator is of kind {kind!r}", hint="a newer workbench may have made it")
    return spec.load(folder, codec)
