"""Fidelity: how close a release is to the records it was made of."""

from workbench.metrics.fidelity.associations import ASSOCIATIONS
from workbench.metrics.fidelity.constraints import CONSTRAINTS
from workbench.metrics.fidelity.discrimination import DISCRIMINATION
from workbench.metrics.fidelity.marginals import MARGINALS, mean_tvd
from workbench.metrics.fidelity.missingness import MISSINGNESS
from workbench.metrics.fidelity.pairs import PAIRS
from workbench.metrics.fidelity.propensity import PROPENSITY
from workbench.metrics.fidelity.shapes import SHAPES
from workbench.metrics.measure import Metric
from workbench.metrics.tables import Tables

FIDELITY: tuple[Metric[Tables], ...] = (
    SHAPES,
    PAIRS,
    *MARGINALS,
    ASSOCIATIONS,
    MISSINGNESS,
    CONSTRAINTS,
    DISCRIMINATION,
    PROPENSITY,
)

__all__ = ["FIDELITY", "mean_tvd"]
