"""Naive Bayes as the workbench offers it; see `naive_bayes`."""

from typing import Annotated

from pydantic import Field, FiniteFloat

from workbench.sisa.learners.registry import LearnerSettings, LearnerSpec
from workbench.specs import Deferred


class NaiveBayesSettings(LearnerSettings):
    """What the counts are given."""

    smoothing: Annotated[FiniteFloat, Field(gt=0, description="What naive Bayes adds to each count.")] = 1.0


SPEC = LearnerSpec(
    name="naive_bayes",
    label="Naive Bayes: erases in no time",
    rank=5,
    settings=NaiveBayesSettings,
    make=Deferred("workbench.sisa.learners.naive_bayes:NaiveBayes"),
)
