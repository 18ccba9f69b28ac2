"""TVAE as the workbench offers it; see `tvae`."""

from workbench.generators.epochs import EpochsSettings
from workbench.generators.registry import GeneratorSpec
from workbench.specs import Deferred

_GENERATOR = Deferred("workbench.generators.tvae:Tvae")

SPEC = GeneratorSpec(
    name="tvae",
    label="TVAE: NOT private",
    rank=7,
    settings=EpochsSettings,
    private=False,
    make=lambda settings: _GENERATOR(**settings.model_dump(exclude_none=True)),
    load=Deferred("workbench.generators.tvae:load_tvae"),
)
