"""Gradient-boosted trees as the workbench offers them; see `gradient_boosting`."""

from typing import Annotated

from pydantic import Field, FiniteFloat, StrictInt

from workbench.sisa.learners.registry import LearnerSettings, LearnerSpec
from workbench.sisa.learners.shared_settings import LearningRate, RowsPerLeaf
from workbench.specs import Deferred


class GradientBoostingSettings(LearnerSettings):
    """What LightGBM is given."""

    rounds: Annotated[
        StrictInt, Field(ge=1, description="Boosting rounds of a shard, spread over its slices: at least one a slice.")
    ] = 60
    learning_rate: LearningRate = 0.1
    leaves: Annotated[StrictInt, Field(ge=2, le=4096, description="Most leaves of a tree.")] = 31
    min_rows_per_leaf: RowsPerLeaf = 20
    category_smoothing: Annotated[
        FiniteFloat,
        Field(ge=0, description="How strongly rare categories are drawn to the mean before trees split on them."),
    ] = 10.0

    def check(self, slices: int) -> None:
        """Raise ValueError where there are fewer rounds than slices."""
        if self.rounds < slices:
            raise ValueError(f"{slices} slices need at least as many rounds, or some would never be learnt from")


SPEC = LearnerSpec(
    name="gradient_boosting",
    label="Boosted trees (LightGBM): the first choice",
    rank=1,
    settings=GradientBoostingSettings,
    # An ensemble averages out what its trees overfit, so small shards gain by many small, eager trees (docs/adr/0019)
    few_rows={"rounds": 200, "leaves": 8, "min_rows_per_leaf": 5, "category_smoothing": 30.0},
    grows=True,
    make=Deferred("workbench.sisa.learners.gradient_boosting:GradientBoosting"),
)
