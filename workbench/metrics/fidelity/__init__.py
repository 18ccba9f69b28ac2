"""Fidelity: how close a release is to the records it was made of."""

from workbench.metrics.fidelity.marginals import mean_tvd

__all__ = ["mean_tvd"]
