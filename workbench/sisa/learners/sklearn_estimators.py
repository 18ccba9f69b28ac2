"""Estimators of scikit-learn, by name from a list: retrained from their shard's start, kept without pickle.

The list leaves out what keeps training rows as its model (nearest neighbours), what tells no probabilities (LinearSVC), and
what can't be trained on a single row (discriminant analysis, AdaBoost).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from workbench.errors import InputError
from workbench.sisa.learners.absent_classes import with_absent_classes
from workbench.sisa.learners.design import Design
from workbench.sisa.learners.one_thread import one_thread
from workbench.sisa.learners.saved_estimator import from_bytes, to_bytes
from workbench.sisa.learners.thresholds import Thresholds
from workbench.sisa.shard import Floats, Shard, Step
from workbench.sisa.task import Task

Settings = Mapping[str, str | int | float | bool | None]
Matrix = npt.NDArray[np.float32]

_TREE = ("min_samples_leaf", "min_samples_split", "max_depth", "max_features", "max_leaf_nodes", "ccp_alpha")
_FOREST = ("n_estimators", *_TREE)
_BOOSTING = ("max_iter", "learning_rate", "max_leaf_nodes", "max_depth", "min_samples_leaf", "l2_regularization")
_TREE_TYPES = ("sklearn.tree._tree.Tree",)
_BOOSTING_TYPES = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)


@dataclass(frozen=True, kw_only=True)
class Offer:
    """An estimator that may be asked for: its classes, the parameters it takes, the types that its file may hold."""

    classifier: type | None
    regressor: type | None
    parameters: tuple[str, ...]
    trusted: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    codes: bool = True
    needs_classes: bool = False  # all of them in the rows; the others say 0 for those that a shard lacks

    def kind_for(self, task: Task) -> type | None:
        """The class for a task; None where there is none."""
        return self.regressor if task.kind == "regression" else self.classifier


OFFERS: dict[str, Offer] = {
    "RandomForest": Offer(
        classifier=RandomForestClassifier,
        regressor=RandomForestRegressor,
        parameters=(*_FOREST, "max_samples"),
        trusted=_TREE_TYPES,
    ),
    "ExtraTrees": Offer(
        classifier=ExtraTreesClassifier, regressor=ExtraTreesRegressor, parameters=_FOREST, trusted=_TREE_TYPES
    ),
    "DecisionTree": Offer(
        classifier=DecisionTreeClassifier, regressor=DecisionTreeRegressor, parameters=_TREE, trusted=_TREE_TYPES
    ),
    "HistGradientBoosting": Offer(
        classifier=HistGradientBoostingClassifier,
        regressor=HistGradientBoostingRegressor,
        parameters=_BOOSTING,
        trusted=_BOOSTING_TYPES,
        needs_classes=True,
        fixed={"early_stopping": False},  # it would hold rows back by their number, so that one fewer changes all
    ),
    "ElasticNet": Offer(
        classifier=None,
        regressor=ElasticNet,
        parameters=("alpha", "l1_ratio", "max_iter", "tol", "positive"),
        codes=False,
    ),
}


@dataclass(frozen=True, kw_only=True)
class SklearnEstimator:
    """An estimator of the list and its parameters; what is trained on are public codes (trees) or vectors."""

    estimator: str
    parameters: Settings

    def __post_init__(self) -> None:
        if self.estimator not in OFFERS:
            raise InputError(f"no estimator {self.estimator!r} is offered", hint=f"offered: {', '.join(OFFERS)}")
        unknown = sorted(self.parameters.keys() - set(self._offer.parameters))
        if unknown:
            raise InputError(
                f"{self.estimator} is offered without the parameters {unknown}",
                hint=f"it takes {', '.join(sorted(self._offer.parameters))}",
            )

    @cached_property
    def _offer(self) -> Offer:
        return OFFERS[self.estimator]

    def train(self, shards: Sequence[Shard], *, task: Task) -> Iterator[Step]:
        """Trains each shard, for every slice from the shard's start; see `Learner`."""
        kind, matrix = self._kind(task), self._matrix(task)
        for shard in shards:
            for slice_number in range(shard.first, shard.n_slices):
                rows = shard.seen(slice_number)
                seed = shard.seed_of(slice_number)
                model = (
                    self._fit(kind, matrix(shard.features[rows]), shard.target[rows], seed, task) if len(rows) else None
                )
                yield shard.number, slice_number, model

    def predict(self, model: bytes, features: Floats, *, task: Task) -> Floats:
        """Class probabilities [n, K], or predicted values [n, 1] for regression."""
        estimator = from_bytes(model, self._kind(task), self._offer.trusted)
        with one_thread():
            if task.kind == "regression":
                return np.asarray(estimator.predict(self._matrix(task)(features)), dtype=np.float64)[:, None]
            probabilities = np.zeros((len(features), task.n_classes))
            probabilities[:, estimator.classes_.astype(np.int64)] = estimator.predict_proba(
                self._matrix(task)(features)
            )
        return probabilities

    def _kind(self, task: Task) -> type:
        kind = self._offer.kind_for(task)
        if kind is None:
            task.require(
                *(("regression",) if self._offer.regressor else ("binary", "multiclass")), learner=self.estimator
            )
        assert kind is not None
        return kind

    def _matrix(self, task: Task) -> Callable[[Floats], Matrix]:
        return Thresholds(task.columns).codes if self._offer.codes else Design(task.columns).matrix

    def _fit(self, kind: type, matrix: Matrix, target: Floats, seed: int, task: Task) -> bytes:
        estimator = kind(**self._offer.fixed, **self.parameters)
        if "random_state" in estimator.get_params():
            estimator.set_params(random_state=seed)
        rows, weights = slice(None), None
        if self._offer.needs_classes:
            rows, target, weights = with_absent_classes(target, task)
        matrix = np.where(
            np.isnan(matrix).all(axis=0), np.float32(0), matrix
        )  # boosting has no bin for a column of NaN
        try:
            with warnings.catch_warnings(action="ignore", category=ConvergenceWarning), one_thread():
                estimator.fit(matrix[rows], target, sample_weight=weights)
        except (ValueError, TypeError) as fault:
            raise InputError(f"scikit-learn refuses {self.estimator}: {str(fault).splitlines()[0]}") from None
        return to_bytes(estimator)
