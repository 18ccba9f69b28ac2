"""Utility: what a release, or a model, is good for."""

from workbench.metrics.utility.models import Fit, Predict
from workbench.metrics.utility.predictions import classification, predictive, regression
from workbench.metrics.utility.suite import utility_metrics

__all__ = ["Fit", "Predict", "classification", "predictive", "regression", "utility_metrics"]
