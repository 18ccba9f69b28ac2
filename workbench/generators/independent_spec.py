"""Independent columns as the workbench offers it; see `independent`."""

from workbench.generators.marginals.marginal_spec import marginal_spec
from workbench.specs import Deferred

SPEC = marginal_spec(
    "independent",
    Deferred("workbench.generators.independent:Independent"),
    label="Independent columns: the baseline, no relations",
    rank=3,
)
