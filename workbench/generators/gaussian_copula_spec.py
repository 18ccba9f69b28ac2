"""The Gaussian copula as the workbench offers it; see `gaussian_copula`."""

from workbench.generators.registry import GeneratorSpec
from workbench.specs import Deferred, Settings

_GENERATOR = Deferred("workbench.generators.gaussian_copula:GaussianCopula")

SPEC = GeneratorSpec(
    name="gaussian_copula",
    label="Gaussian copula: NOT private",
    rank=5,
    settings=Settings,
    private=False,
    make=lambda _: _GENERATOR(),
    load=Deferred("workbench.generators.gaussian_copula:load_gaussian_copula"),
)
