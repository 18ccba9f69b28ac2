"""The neural network as the workbench offers it; see `mlp`."""

from typing import Annotated

from pydantic import Field, FiniteFloat

from workbench.sisa.learners.registry import LearnerSettings, LearnerSpec
from workbench.sisa.learners.shared_settings import Batch, Epochs, Hidden, LearningRate
from workbench.specs import Deferred


class MlpSettings(LearnerSettings):
    """What the network and its training are given."""

    hidden: Hidden = (64,)
    epochs: Epochs = 15
    batch: Batch = 64
    learning_rate: LearningRate = 0.002
    weight_decay: Annotated[FiniteFloat, Field(ge=0, le=1, description="How strongly weights are drawn to zero.")] = 0.1


SPEC = LearnerSpec(
    name="mlp",
    label="Neural network",
    rank=2,
    settings=MlpSettings,
    few_rows={"hidden": (32,), "batch": 32, "learning_rate": 0.006},
    together=True,
    make=Deferred("workbench.sisa.learners.mlp:Mlp"),
)
