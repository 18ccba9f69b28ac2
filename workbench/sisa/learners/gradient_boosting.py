"""Gradient-boosted trees (LightGBM), resumed slice by slice from their own text format: no pickle, bit-identical.

A model is the texts of its slices' trees one after another; their raw scores add up. Rows are binned by public thresholds, and
what earlier slices' trees say of a row is computed once, so that slices save work instead of costing it (docs/adr/0019).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import DamagedError
from workbench.sisa.learners.absent_classes import with_absent_classes
from workbench.sisa.learners.thresholds import Codes, Thresholds
from workbench.sisa.link import logistic, softmax
from workbench.sisa.shard import Floats, Shard, Step
from workbench.sisa.task import Task

if TYPE_CHECKING:
    import lightgbm as lgb  # else imported where it is used: two seconds of start-up

_END = b"\nend of parameters\n\npandas_categorical:null\n"


@dataclass(frozen=True, kw_only=True)
class GradientBoosting:
    """LightGBM's boosting with public settings and public bins only: one thread, row-wise histograms."""

    rounds: int
    learning_rate: float
    leaves: int
    min_rows_per_leaf: int
    category_smoothing: float

    def rounds_of_slice(self, slice_number: int, n_slices: int) -> int:
        """Boosting rounds of one slice (from 0): the total spread evenly, the remainder on the first slices."""
        base, extra = divmod(self.rounds, n_slices)
        return base + (slice_number < extra)

    def train(self, shards: Sequence[Shard], *, task: Task) -> Iterator[Step]:
        """Trains each shard slice by slice; see `Learner`."""
        thresholds = Thresholds(task.columns)
        bins = self._bins(thresholds, task)
        for shard in shards:
            yield from self._train(shard, thresholds, bins, task)

    def predict(self, model: bytes, features: Floats, *, task: Task) -> Floats:
        """Class probabilities [n, K], or predicted values [n, 1] for regression."""
        codes = Thresholds(task.columns).codes(features)
        raw = np.sum([_raw(part, codes) for part in _parts(model)], axis=0)
        if task.kind == "regression":
            return np.asarray(raw)
        return logistic(raw[:, 0]) if task.kind == "binary" else softmax(raw)

    def _train(self, shard: Shard, thresholds: Thresholds, bins: lgb.Dataset, task: Task) -> Iterator[Step]:
        import lightgbm as lgb

        texts = [] if shard.checkpoint is None else [shard.checkpoint]
        parts = [] if shard.checkpoint is None else _parts(shard.checkpoint)
        codes = thresholds.codes(shard.features)
        scores = np.zeros((len(shard), task.n_classes if task.kind == "multiclass" else 1))
        counted = np.zeros(len(shard), dtype=np.int64)  # of how many parts a row's score is the sum
        for slice_number in range(shard.first, shard.n_slices):
            rows, rounds = shard.seen(slice_number), self.rounds_of_slice(slice_number, shard.n_slices)
            if len(rows) and rounds:
                for number, part in enumerate(parts):
                    lacking = rows[counted[rows] == number]
                    if len(lacking):
                        scores[lacking] += _raw(part, codes[lacking])
                        counted[lacking] = number + 1
                known = scores[rows] if parts else None
                settings = self._settings(task, shard.seed_of(slice_number))
                text = _fit(codes[rows], shard.target[rows], known, bins, settings, rounds, task)
                texts.append(text)
                parts.append(lgb.Booster(model_str=text.decode()))
            yield shard.number, slice_number, b"".join(texts) or None

    def _bins(self, thresholds: Thresholds, task: Task) -> lgb.Dataset:
        """A table with every code of every column: LightGBM takes its bins from it, one per code."""
        import lightgbm as lgb

        columns = []
        for size, column in zip(thresholds.sizes, task.columns, strict=True):
            codes = np.arange(size, dtype=np.float32)
            columns.append(np.append(codes, np.nan) if column.missing else codes)
        rows = max(map(len, columns))
        table = np.stack([np.resize(codes, rows) for codes in columns], axis=1).astype(np.float32)
        settings = self._settings(task, 0)
        coded = [place for place, is_coded in enumerate(task.categorical) if is_coded]
        return lgb.Dataset(table, label=np.zeros(rows), categorical_feature=coded, params=settings).construct()

    def _settings(self, task: Task, seed: int) -> dict[str, Any]:
        sizes = Thresholds(task.columns).sizes
        settings: dict[str, Any] = {
            "objective": task.kind,
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.min_rows_per_leaf,
            "cat_smooth": self.category_smoothing,
            "cat_l2": self.category_smoothing,
            "max_bin_by_feature": [max(size + 2, 3) for size in sizes],
            "min_data_in_bin": 1,
            "enable_bundle": False,
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


def _fit(
    codes: Codes,
    target: Floats,
    known: Floats | None,
    bins: lgb.Dataset,
    settings: dict[str, Any],
    rounds: int,
    task: Task,
) -> bytes:
    """The text of `rounds` rounds of trees on rows whose raw scores so far are `known`."""
    import lightgbm as lgb

    rows, target, weights = with_absent_classes(target, task)
    start = None if known is None else known[rows].squeeze(axis=1) if known.shape[1] == 1 else known[rows]
    data = lgb.Dataset(codes[rows], label=target, weight=weights, init_score=start, reference=bins, params=settings)
    booster = lgb.Booster(settings, data)
    for _ in range(rounds):
        booster.update()
    return str(booster.model_to_string(num_iteration=-1)).encode()


def _raw(part: lgb.Booster, codes: Codes) -> Floats:
    """A part's raw scores [n, K], or [n, 1] for two classes and for regression."""
    return np.asarray(part.predict(codes, raw_score=True, num_threads=1)).reshape(len(codes), -1)


def _parts(model: bytes) -> list[lgb.Booster]:
    import lightgbm as lgb

    texts = model.split(_END)
    try:
        # LightGBM ends the whole process on a text that was cut short
        if len(texts) < 2 or texts.pop() or not all(text.startswith(b"tree\n") for text in texts):
            raise lgb.basic.LightGBMError("cut short")
        return [lgb.Booster(model_str=(text + _END).decode()) for text in texts]
    except (lgb.basic.LightGBMError, UnicodeDecodeError):
        raise DamagedError(
            "a checkpoint is not a LightGBM model in text form", hint="train the ensemble again"
        ) from None
