"""AIM as the workbench offers it; see `aim`."""

from workbench.generators.marginals.marginal_spec import marginal_spec
from workbench.specs import Deferred

SPEC = marginal_spec(
    "aim",
    Deferred("workbench.generators.aim:Aim"),
    label="AIM: the best quality, the first choice",
    rank=1,
)
