"""Distributions over tables of codes, inferred exactly from noisy marginals: what MST and AIM share."""

from workbench.generators.marginals.domain import Clique, Domain
from workbench.generators.marginals.estimate import Measurement, estimate, estimate_total
from workbench.generators.marginals.model import GraphicalModel

__all__ = ["Clique", "Domain", "GraphicalModel", "Measurement", "estimate", "estimate_total"]
