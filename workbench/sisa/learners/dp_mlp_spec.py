"""The private neural network as the workbench offers it; see `dp_mlp`."""

from typing import Annotated

from pydantic import Field, FiniteFloat

from workbench.sisa.learners.registry import LearnerSettings, LearnerSpec
from workbench.sisa.learners.shared_settings import Batch, Epochs, Hidden, LearningRate
from workbench.specs import Deferred


class DpMlpSettings(LearnerSettings):
    """What the network and DP-SGD are given."""

    hidden: Hidden = (32,)
    epochs: Epochs = 15
    batch: Batch = 256
    learning_rate: LearningRate = 0.01
    clip: Annotated[
        FiniteFloat,
        Field(gt=0, description="What bounds each person's part in a step of DP-SGD, as the norm of the gradient."),
    ] = 1.0
    epsilon: Annotated[FiniteFloat, Field(gt=0)]
    delta: Annotated[float, Field(gt=0, lt=1)]


SPEC = LearnerSpec(
    name="dp_mlp",
    label="Private neural network: also spends privacy budget",
    rank=8,
    settings=DpMlpSettings,
    resumes=False,
    private=True,
    make=Deferred("workbench.sisa.learners.dp_mlp:DpMlp"),
)
