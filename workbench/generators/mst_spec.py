"""MST as the workbench offers it; see `mst`."""

from workbench.generators.marginals.marginal_spec import marginal_spec
from workbench.specs import Deferred

SPEC = marginal_spec(
    "mst",
    Deferred("workbench.generators.mst:Mst"),
    label="MST: a tenth of the time, for many columns",
    rank=2,
)
