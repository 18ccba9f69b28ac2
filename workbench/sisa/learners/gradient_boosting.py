"""Gradient-boosted trees (LightGBM), resumed slice by slice from their own text format: no pickle, bit-identical."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.sisa.task import Task

Floats = npt.NDArray[np.float64]
_END = b"\nend of parameters\n\npandas_categorical:null\n"


@dataclass(frozen=True, kw_only=True)
class GradientBoosting:
    """LightGBM's boosting with public settings only.

    Guarantees:
      - `fit` is a function of its arguments alone, to the last bit, on one platform and library version: one thread,
        row-wise histograms, rows in canonical order.
      - class weights, bins and the number of rounds depend on nothing but the settings and the rows given.
    """

    rounds: int
    learning_rate: float
    leaves: int
    min_rows_per_leaf: int

    def rounds_of_slice(self, slice_number: int, n_slices: int) -> int:
        """Boosting rounds of one slice (from 0): the total spread evenly, the remainder on the first slices."""
        base, extra = divmod(self.rounds, n_slices)
        return base + (slice_number < extra)

    def fit(
        self,
        features: Floats,
        target: Floats,
        *,
        task: Task,
        resume: bytes | None,
        rounds: int,
        seed: int,
    ) -> bytes:
        """Adds `rounds` boosting rounds on `features` [n, d] and `target` [n] to the model `resume`; returns its text."""
        settings = self._settings(task, seed)
        features, target, weights = _with_absent_classes(features, target, task)
        train = lgb.Dataset(
            features,
            label=target,
            weight=weights,
            categorical_feature=[i for i, coded in enumerate(task.categorical) if coded],
            params=settings,
            free_raw_data=True,
        )
        start = _load(resume) if resume is not None else None
        booster = lgb.train(settings, train, num_boost_round=rounds, init_model=start)
        return str(booster.model_to_string(num_iteration=-1)).encode()

    def predict(self, model: bytes, features: Floats, *, task: Task) -> Floats:
        """Class probabilities [n, K], or predicted values [n, 1] for regression."""
        raw = np.asarray(_load(model).predict(features, num_threads=1))
        if task.kind == "binary":
            return np.column_stack([1 - raw, raw])
        return raw.reshape(len(features), -1)

    def _settings(self, task: Task, seed: int) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "objective": {"binary": "binary", "multiclass": "multiclass", "regression": "regression"}[task.kind],
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.min_rows_per_leaf,
            # LightGBM otherwise drops features and refuses data sets by what it finds in the first rows
            "feature_pre_filter": False,
            "seed": seed,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": 1,
            "verbosity": -1,
        }
        if task.kind != "regression":
            # A class that was absent so far starts at probability 1 / (n + 1), where LightGBM's Newton steps (gradient over
            # p (1 - p)) overshoot and diverge. Steps of 10 log-odds are met nowhere else: Adult's model stays the same.
            settings["max_delta_step"] = 10.0
        if task.kind == "multiclass":
            settings["num_class"] = task.n_classes
        return settings


def _with_absent_classes(features: Floats, target: Floats, task: Task) -> tuple[Floats, Floats, Floats | None]:
    """Adds copies of the rows, of weight 1 in all, for each class that the rows lack; returns the weights too.

    LightGBM would otherwise give such a class a log-odds of -34 that later slices cannot undo; with them the class has the
    smoothed probability 1 / (n + 1) everywhere. Several such classes share out the rows, so that these at most double.
    What is added depends on the rows given alone, so erasures stay exact.
    """
    absent = [k for k in range(len(task.labels)) if not (target == k).any()]
    if not absent:
        return features, target, None
    n = len(target)
    copied = [np.arange(place % n, n, len(absent)) for place in range(len(absent))]
    rows = np.concatenate([np.arange(n), *copied])
    labels = [target, *(np.full(len(own), k, dtype=float) for own, k in zip(copied, absent, strict=True))]
    weights = [np.ones(n), *(np.full(len(own), 1 / len(own)) for own in copied)]
    return features[rows], np.concatenate(labels), np.concatenate(weights)


def _load(model: bytes) -> lgb.Booster:
    try:
        if not model.endswith(_END):  # LightGBM ends the whole process on a text that was cut short
            raise lgb.basic.LightGBMError("cut short")
        return lgb.Booster(model_str=model.decode())
    except (lgb.basic.LightGBMError, UnicodeDecodeError):
        raise InputError("a checkpoint is not a LightGBM model in text form", hint="train the ensemble again") from None
