"""How good a synthetic table is: mean total variation distances of its marginals, and what a classifier learns from it.

On Adult numbers are cut as other published figures on it are: 20 equal bins between the public bounds, fixed cuts for capital
gains and losses. On other tables the schema's own cells count.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from workbench.data.dataset import Dataset
from workbench.metrics.fidelity import mean_tvd
from workbench.schema.codec import Values

CAPITAL_CUTS = (1, 1000, 2000, 3000, 4000, 5000, 7500, 10000, 15000, 20000, 50000)
EQUAL_BINS = 20


def score(train: Dataset, holdout: Dataset, synthetic: Values) -> dict[str, float]:
    """tvd1, tvd2 and tvd3 to the training table (lower is better); auc on the holdout, trained on the synthetic table."""
    cuts = _cuts(train)
    sizes = [size if cut is None else len(cut) + 2 for (size, cut) in zip(train.codec.sizes, cuts, strict=True)]
    real, drawn = _cells(train, train.values, cuts), _cells(train, synthetic, cuts)
    return {
        **{f"tvd{way}": mean_tvd(real, drawn, sizes, way=way) for way in (1, 2, 3)},
        "auc": auc(holdout, synthetic),
    }


def auc(holdout: Dataset, synthetic: Values) -> float:
    """Area under the ROC curve of boosted trees that saw the synthetic table only; NaN where it holds one class."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    target = holdout.target_position
    listed = [column.categories is not None for column in holdout.schema.encoded.values()]
    del listed[target]
    labels = synthetic[:, target]
    if len(np.unique(labels)) < 2:
        return float("nan")
    judge = HistGradientBoostingClassifier(random_state=0, categorical_features=listed)
    judge.fit(np.delete(synthetic, target, axis=1), labels)
    return float(roc_auc_score(holdout.target, judge.predict_proba(holdout.features)[:, 1]))


def _cuts(train: Dataset) -> list[npt.NDArray[np.float64] | None]:
    """Where each number of Adult is cut; None for the schema's own cells."""
    columns = train.schema.encoded.items()
    if train.name != "adult":
        return [None for _ in columns]
    return [
        None
        if column.categories is not None
        else np.array(CAPITAL_CUTS, dtype=float)
        if name.startswith("capital")
        else np.linspace(column.low, column.high, EQUAL_BINS + 1)[1:-1]
        for name, column in columns
    ]


def _cells(train: Dataset, values: Values, cuts: list[npt.NDArray[np.float64] | None]) -> npt.NDArray[np.int64]:
    cells = train.codec.bin(values)
    for column, cut in enumerate(cuts):
        if cut is not None:
            cells[:, column] = np.digitize(values[:, column], cut)
    return cells
