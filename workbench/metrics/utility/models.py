"""Learners trained on the release, on the naive release and on the training rows: each once, whatever is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import numpy.typing as npt

from workbench.metrics.comparable import check_tables, require_holdout
from workbench.metrics.measure import NotComputableError
from workbench.metrics.tables import Tables
from workbench.schema import Column
from workbench.schema.codec import Values

Floats = npt.NDArray[np.float64]
# Predicts from encoded features [n, d - 1]: class probabilities [n, K], or values [n, 1] of a number.
Predict = Callable[[Floats], Floats]
# Fits to encoded features [n, d - 1] and the target [n].
Fit = Callable[[Floats, Floats], Predict]

_NAMES = {"synthetic": "release", "independent": "naive release", "training": "training rows"}


class Models:
    """Learners by name, with what they have learnt so far. Holds the tables they were asked about, so let go of it."""

    def __init__(self, learners: Mapping[str, Fit]) -> None:
        self._learners = dict(learners)
        self.fitted = cache(self._fitted)
        self.predicted = cache(self._predicted)

    @property
    def names(self) -> tuple[str, ...]:
        """The learners' names, in order."""
        return tuple(self._learners)

    def _fitted(self, tables: Tables, learner: str, name: str) -> Predict:
        """A learner fitted to the `synthetic`, `independent` or `training` rows."""
        check_trainable(tables, name)
        values, target = _rows(tables, name), tables.training.target_position
        predict = self._learners[learner](np.delete(values, target, axis=1), values[:, target])

        def predicted(features: Floats) -> Floats:
            found = np.asarray(predict(features), dtype=np.float64)
            if found.shape != (len(features), n_outputs(tables)) or not np.isfinite(found).all():
                raise NotComputableError(f"not computable because {learner} does not predict every row of the holdout")
            return found

        return predicted

    def _predicted(self, tables: Tables, learner: str, name: str) -> Floats:
        """What a learner so fitted predicts of the holdout."""
        return self.fitted(tables, learner, name)(tables.holdout.features)


def check_trainable(tables: Tables, name: str) -> None:
    """Raises NotComputableError where there is no target, no holdout, or a table's target does not vary."""
    if tables.training.schema.target is None:
        raise NotComputableError("not computable because the schema declares no target")
    check_tables(tables)
    require_holdout(tables)
    for what, rows in ((_NAMES[name], _rows(tables, name)), ("holdout", tables.holdout.values)):
        if len(np.unique(rows[:, tables.training.target_position])) < 2:
            raise NotComputableError(f"not computable because the target has one value only in the {what}")


def is_regression(tables: Tables) -> bool:
    """Whether the target is a number."""
    return not _target(tables).is_coded


def n_outputs(tables: Tables) -> int:
    """The number of classes; 1 of a number."""
    return 1 if is_regression(tables) else _target(tables).cells


def _target(tables: Tables) -> Column:
    return list(tables.training.schema.encoded.values())[tables.training.target_position]


def _rows(tables: Tables, name: str) -> Values:
    if name == "training":
        return tables.training.values
    return tables.independent if name == "independent" else tables.synthetic
