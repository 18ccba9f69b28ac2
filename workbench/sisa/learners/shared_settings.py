"""Settings that several learners take under one name, each declared once."""

from typing import Annotated

from pydantic import Field, FiniteFloat, StrictInt

_Units = Annotated[StrictInt, Field(ge=2, le=4096)]

LearningRate = Annotated[FiniteFloat, Field(gt=0, le=1, description="How far each round or step goes.")]
RowsPerLeaf = Annotated[StrictInt, Field(ge=1, description="Fewest rows that a leaf of a tree stands on.")]
Hidden = Annotated[
    tuple[_Units, ...],
    Field(min_length=1, max_length=8, description="Units of each hidden layer of the network: one to eight layers."),
]
Epochs = Annotated[
    StrictInt,
    Field(
        ge=1,
        description="How often the network goes over all rows of a shard; with slices, the work of as much.",
    ),
]
Batch = Annotated[
    StrictInt,
    Field(
        ge=32,
        le=65536,
        multiple_of=32,
        description="Rows of a step, a multiple of 32; for `dp_mlp` how many people a step expects.",
    ),
]
Penalty = Annotated[FiniteFloat, Field(gt=0, description="The L2 penalty.")]
