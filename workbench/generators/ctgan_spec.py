"""CTGAN as the workbench offers it; see `ctgan`."""

from workbench.generators.epochs import EpochsSettings
from workbench.generators.registry import GeneratorSpec
from workbench.specs import Deferred

_GENERATOR = Deferred("workbench.generators.ctgan:Ctgan")

SPEC = GeneratorSpec(
    name="ctgan",
    label="CTGAN: NOT private",
    rank=6,
    settings=EpochsSettings,
    private=False,
    make=lambda settings: _GENERATOR(**settings.model_dump(exclude_none=True)),
    load=Deferred("workbench.generators.ctgan:load_ctgan"),
)
