"""How good a new release is: the few figures that are measured when it is made, each with its value or why there is none.

A figure never ends a synthesis: the fit is paid for by then.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workbench.data.dataset import Dataset
from workbench.errors import InputError
from workbench.metrics.estimate import Estimate
from workbench.metrics.measure import NotComputableError
from workbench.metrics.utility import predictive
from workbench.schema import Schema
from workbench.schema.codec import Values
from workbench.sisa.learners.gradient_boosting import GradientBoosting
from workbench.sisa.shard import fit_whole
from workbench.sisa.task import Task, task_of
from workbench.state.roles import internal
from workbench.workflows.synthesis.results import Figure, Figures

JUDGE = GradientBoosting(rounds=100, learning_rate=0.1, leaves=31, min_rows_per_leaf=20, category_smoothing=10.0)
_CLASSES, _NUMBERS = ("accuracy", "auc"), ("rmse", "r2")
_LOST = {"auc": "the holdout lacks a class of the target", "r2": "the target is constant in the holdout"}

_log = logging.getLogger(__name__)


@internal
def figures_of(real: Dataset, holdout: Dataset, release: Path) -> Figures:
    """Measure the distance of marginals to the training rows, and how well a model of the release does on the holdout."""
    from workbench.metrics.fidelity import mean_tvd  # for start-up: SciPy's statistics take a second

    codec = real.codec
    table: pa.Table = pq.read_table(release)
    values = codec.encode(table.to_pandas()).values
    bins, synthetic = codec.bin(real.values), codec.bin(values)
    metrics: dict[str, Figure] = {}
    not_measured: dict[str, str] = {}

    def attempt(names: tuple[str, ...], compute: Callable[[], Mapping[str, Figure]]) -> None:
        try:
            for name, figure in compute().items():
                if math.isfinite(figure.value if isinstance(figure, Estimate) else figure):
                    metrics[name] = figure
                else:
                    not_measured[name] = "not computable because it is no finite number here"
        except NotComputableError as why:
            not_measured.update(dict.fromkeys(names, str(why)))
        except Exception as fault:  # its message may hold values of rows, its type does not
            _log.warning("figures %s failed: %s", ", ".join(names), type(fault).__name__)
            not_measured.update(dict.fromkeys(names, f"failed: {type(fault).__name__}"))

    for way in (1, 2, 3):
        name = f"fidelity/tvd{way}"
        distance = partial(mean_tvd, bins, synthetic, codec.sizes, way=way)
        attempt((name,), lambda name=name, distance=distance: {name: distance()})  # type: ignore[misc]
    if (target := real.schema.target) is not None:
        names = _CLASSES if real.schema.encoded[target].is_coded else _NUMBERS
        attempt(tuple(map(_tstr, names)), lambda: _train_on_synthetic(holdout, values))
        for name in names:
            if not metrics.keys() | not_measured.keys() >= {_tstr(name)}:
                not_measured[_tstr(name)] = f"not computable because {_LOST[name]}"
    return Figures(metrics=metrics, not_measured=not_measured)


@internal
def prediction_task(schema: Schema) -> Task:
    """Return the task that a schema declares; raise NotComputableError, with its fault, where nothing can be predicted."""
    try:
        return task_of(schema)
    except InputError as fault:
        raise NotComputableError(f"not computable because {fault}") from None


def _tstr(name: str) -> str:
    return f"utility/tstr_{name}"


def _train_on_synthetic(holdout: Dataset, values: Values) -> dict[str, Figure]:
    if not len(holdout):
        raise NotComputableError("not computable because no row is held out")
    task, target = prediction_task(holdout.schema), holdout.target_position
    features = np.delete(values, target, axis=1)
    model = fit_whole(JUDGE, features, values[:, target], task=task)
    predicted = JUDGE.predict(model, holdout.features, task=task)
    found = predictive(task.kind, holdout.target, predicted, holdout.points)
    return {_tstr(name): estimate for name, estimate in found.items()}
