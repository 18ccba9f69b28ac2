"""Logistic regression as the workbench offers it; see `logistic_regression`."""

from workbench.sisa.learners.registry import LearnerSettings, LearnerSpec
from workbench.sisa.learners.shared_settings import Penalty
from workbench.specs import Deferred


class LogisticRegressionSettings(LearnerSettings):
    """What the regression is given."""

    penalty: Penalty = 1.0


SPEC = LearnerSpec(
    name="logistic_regression",
    label="Logistic regression",
    rank=3,
    settings=LogisticRegressionSettings,
    make=Deferred("workbench.sisa.learners.logistic_regression:LogisticRegression"),
)
