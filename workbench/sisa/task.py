"""What is to be predicted, from the public schema alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from workbench.errors import InputError
from workbench.schema import Schema
from workbench.schema.column import Column


@dataclass(frozen=True, kw_only=True)
class Task:
    """The kind of prediction, the fixed label space (also where a shard lacks a class), and the columns with their domains.

    `max_rows_per_subject` is the schema's.
    """

    kind: Literal["binary", "multiclass", "regression"]
    labels: tuple[str, ...]
    features: tuple[str, ...]
    columns: tuple[Column, ...]
    target: Column
    max_rows_per_subject: int = 1

    @property
    def categorical(self) -> tuple[bool, ...]:
        """Which features are unordered codes."""
        return tuple(column.is_categorical for column in self.columns)

    @property
    def n_classes(self) -> int:
        """Number of classes; 1 for regression."""
        return len(self.labels) or 1

    def require(self, *kinds: str, learner: str) -> None:
        """Raises InputError where the task is of none of the kinds, which are all that the learner can do."""
        if self.kind not in kinds:
            raise InputError(
                f"{learner} is for {' or '.join(kinds)} targets, and this one is {self.kind}",
                hint="choose another learner, or another target in the schema",
            )

    def answer_columns(self, answers: Literal["probabilities", "labels"]) -> tuple[str, ...]:
        """The columns of a prediction, `prediction` first."""
        return ("prediction", *(f"probability_{label}" for label in self.labels if answers == "probabilities"))


def task_of(schema: Schema) -> Task:
    """The prediction task that a schema declares; raises InputError where it has no target, label or feature."""
    if schema.target is None:
        raise InputError("the schema declares no target column", hint="give one column role: target")
    columns = schema.encoded
    features = tuple(name for name in columns if name != schema.target)
    if not features:
        raise InputError("the schema leaves no feature to predict from")
    target = columns[schema.target]
    labels = target.labels
    if len(labels) == 1:
        raise InputError(f"target {schema.target!r} has one category only: there is nothing to predict")
    return Task(
        kind="regression" if not labels else "binary" if len(labels) == 2 else "multiclass",
        labels=labels,
        features=features,
        columns=tuple(columns[name] for name in features),
        target=target,
        max_rows_per_subject=schema.max_rows_per_subject,
    )
