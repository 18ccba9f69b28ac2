"""Estimators of scikit-learn as the workbench offers them; see `sklearn_estimators`."""

from collections.abc import Mapping

from pydantic import Field, FiniteFloat, StrictBool, StrictInt

from workbench.sisa.learners.registry import LearnerSettings, LearnerSpec
from workbench.specs import Deferred


class SklearnSettings(LearnerSettings):
    """Which estimator, and what it is given."""

    estimator: str | None = Field(
        default=None,
        description="One of scikit-learn's, without its ending Classifier or Regressor: RandomForest, DecisionTree, "
        "HistGradientBoosting or ElasticNet.",
    )
    parameters: Mapping[str, StrictBool | StrictInt | FiniteFloat | str | None] = Field(
        default={}, description="The estimator's own parameters, by scikit-learn's names."
    )

    def check(self, slices: int) -> None:  # noqa: ARG002 (how many slices there may be is the spec's to say)
        """Raise ValueError where no estimator is named."""
        if self.estimator is None:
            raise ValueError("sklearn needs the name of an estimator, such as estimator: RandomForest")


SPEC = LearnerSpec(
    name="sklearn",
    label=None,
    rank=7,
    settings=SklearnSettings,
    resumes=False,
    doubted=True,
    make=Deferred("workbench.sisa.learners.sklearn_estimators:SklearnEstimator"),
)
