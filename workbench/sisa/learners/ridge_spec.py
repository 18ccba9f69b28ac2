"""Ridge regression as the workbench offers it; see `ridge`."""

from workbench.sisa.learners.registry import LearnerSettings, LearnerSpec
from workbench.sisa.learners.shared_settings import Penalty
from workbench.specs import Deferred


class RidgeSettings(LearnerSettings):
    """What the regression is given."""

    penalty: Penalty = 1.0


SPEC = LearnerSpec(
    name="ridge",
    label="Ridge regression, for numbers",
    rank=4,
    settings=RidgeSettings,
    make=Deferred("workbench.sisa.learners.ridge:Ridge"),
)
