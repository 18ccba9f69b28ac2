"""Extra trees as the workbench offers them; see `extra_trees`."""

from typing import Annotated

from pydantic import Field, StrictInt

from workbench.sisa.learners.registry import LearnerSettings, LearnerSpec
from workbench.sisa.learners.shared_settings import RowsPerLeaf
from workbench.specs import Deferred


class ExtraTreesSettings(LearnerSettings):
    """What the forest is given."""

    trees: Annotated[StrictInt, Field(ge=1, le=100_000, description="How many trees a shard grows.")] = 100
    min_rows_per_leaf: RowsPerLeaf = 5


SPEC = LearnerSpec(
    name="extra_trees",
    label="Extra trees",
    rank=6,
    settings=ExtraTreesSettings,
    few_rows={"min_rows_per_leaf": 2},
    resumes=False,
    make=Deferred("workbench.sisa.learners.extra_trees:ExtraTrees"),
)
