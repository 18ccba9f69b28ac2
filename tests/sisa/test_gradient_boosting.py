"""The learner gives the same bytes everywhere, resumes as if it had never stopped, and bears every odd table."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.schema.column import Column
from workbench.sisa.learners.gradient_boosting import GradientBoosting
from workbench.sisa.shard import Shard
from workbench.sisa.task import Task

LEARNER = GradientBoosting(rounds=12, learning_rate=0.2, leaves=7, min_rows_per_leaf=3, category_smoothing=10.0)
LABELS = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c", "d"), "regression": ()}


def task_of_kind(kind, columns=3):
    number = Column(kind="continuous", bounds=(-4, 4), missing=True)
    coded = Column(kind="categorical", categories=tuple("abcdef"))
    labels = LABELS[kind]
    return Task(
        kind=kind,
        labels=labels,
        features=tuple(f"x{i}" for i in range(columns)),
        columns=(*[number] * (columns - 1), coded),
        target=Column(kind="categorical", categories=labels) if labels else Column(kind="continuous", bounds=(-9, 9)),
    )


def table(kind="binary", n=200, seed=0):
    rng = np.random.default_rng(seed)
    features = np.column_stack([rng.normal(size=(n, 2)), rng.integers(0, 6, n)])
    features[rng.random(n) < 0.1, 0] = np.nan
    signal = np.nan_to_num(features[:, 0]) + 0.3 * features[:, 2] + rng.normal(0, 0.1, n)
    if kind == "regression":
        return features, signal
    return features, np.digitize(signal, np.quantile(signal, np.linspace(0, 1, len(LABELS[kind]) + 1)[1:-1])).astype(
        float
    )


def fit(features, target, kind="binary", *, resume=None, rounds=12, seed=5):
    shard = Shard(
        number=0,
        features=features,
        target=target,
        points=np.arange(len(features), dtype=np.uint64),
        slices=np.zeros(len(features), dtype=np.int64),
        n_slices=1,
        seed=seed,
        checkpoint=resume,
    )
    learner = replace(LEARNER, rounds=rounds)
    ((_, _, model),) = learner.train([shard], task=task_of_kind(kind, features.shape[1]))
    return model


def predict(model, features, kind="binary"):
    return LEARNER.predict(model, features, task=task_of_kind(kind, features.shape[1]))


_ELSEWHERE = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from test_gradient_boosting import fit, table
for kind in ("binary", "multiclass", "regression"):
    first = fit(*table(kind), kind, rounds=5)
    print(hashlib.sha256(fit(*table(kind, 300), kind, resume=first, rounds=5)).hexdigest())
"""


@pytest.mark.slow
def test_other_processes_and_thread_counts_give_the_same_bytes():
    digests = []
    for threads in ("1", "2"):
        environment = os.environ | {"OMP_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        command = [sys.executable, "-c", _ELSEWHERE, os.path.dirname(__file__)]  # noqa: PTH120
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        digests.append(done.stdout.split())
    here = []
    for kind in LABELS:
        first = fit(*table(kind), kind, rounds=5)
        here.append(hashlib.sha256(fit(*table(kind, 300), kind, resume=first, rounds=5)).hexdigest())
    assert digests == [here, here]


@pytest.mark.parametrize("kind", LABELS)
def test_the_model_depends_on_what_it_is_given(kind):
    features, target = table(kind)
    base = fit(features, target, kind)
    changed = target.copy()
    changed[0] = target[target != target[0]][0]
    assert fit(features, target, kind) == base
    assert fit(features, target, kind, rounds=11) != base
    assert fit(features[:-1], target[:-1], kind) != base
    assert fit(features, changed, kind) != base


@pytest.mark.parametrize("kind", LABELS)
def test_resuming_adds_rounds_to_the_model_as_it_was(kind):
    features, target = table(kind)
    first = fit(features[:100], target[:100], kind, rounds=4)
    second = fit(features, target, kind, resume=first, rounds=3)
    classes = len(LABELS[kind]) if kind == "multiclass" else 1
    assert second.startswith(first)
    assert (first.count(b"\nTree="), second.count(b"\nTree=")) == (4 * classes, 7 * classes)


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("n", [1, 2, 200])
def test_predictions_have_one_column_per_class_and_sum_to_one(kind, n):
    features, target = table(kind)
    predicted = predict(fit(features[:n], target[:n], kind), features, kind)
    assert predicted.shape == (200, len(LABELS[kind]) or 1)
    assert np.isfinite(predicted).all()
    if kind != "regression":
        assert (predicted > 0).all()
        np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("kind", LABELS)
def test_it_learns(kind):
    features, target = table(kind)
    predicted = predict(fit(features, target, kind, rounds=60), features, kind)
    if kind == "regression":
        assert 1 - ((predicted[:, 0] - target) ** 2).mean() / target.var() > 0.9
    else:
        assert (predicted.argmax(axis=1) == target).mean() > 0.85


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_a_class_that_comes_late_is_learnt_as_if_it_had_been_there(kind):
    features, target = table(kind, 400)
    only = target == 0
    first = fit(features[only], target[only], kind, rounds=4)
    assert predict(first, features, kind).min() > 1e-4, "an absent class is unlikely, not impossible"
    later = predict(fit(features, target, kind, resume=first, rounds=60), features, kind)
    assert (later.argmax(axis=1) == target).mean() > 0.85


ODD = {
    "constant features": lambda n, _: np.ones((n, 3)),
    "an all-missing feature": lambda n, rng: np.column_stack([np.full(n, np.nan), rng.normal(size=(n, 2)).round()]),
    "nothing but missing values": lambda n, _: np.full((n, 3), np.nan),
    "ten thousand categories": lambda n, rng: np.column_stack(
        [rng.normal(size=(n, 2)), rng.permutation(np.arange(n) % 10**4)]
    ),
    "huge numbers": lambda n, rng: np.column_stack(
        [rng.normal(size=n) * 1e300, rng.normal(size=n) * 1e-300, np.zeros(n)]
    ),
}


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("case", ODD)
def test_an_odd_table_is_trained_on_and_resumed(case, kind):
    rng = np.random.default_rng(0)
    n = 10_000 if "thousand" in case else 60
    features = np.abs(ODD[case](n, rng)) if "categories" in case else ODD[case](n, rng)
    target = rng.normal(size=n) if kind == "regression" else rng.integers(0, len(LABELS[kind]), n).astype(float)
    first = fit(features[: n // 2], target[: n // 2], kind, rounds=2)
    second = fit(features, target, kind, resume=first, rounds=2)
    assert second == fit(features, target, kind, resume=first, rounds=2)
    assert np.isfinite(predict(second, features, kind)).all()


def test_a_category_never_seen_is_answered():
    features, target = table()
    model = fit(features, target)
    features[:, 2] = 999
    assert np.isfinite(predict(model, features)).all()


@pytest.mark.parametrize(("rounds", "slices"), [(60, 1), (60, 5), (61, 5), (7, 7), (9, 4), (4096, 4095)])
def test_the_rounds_of_the_slices_sum_to_the_rounds(rounds, slices):
    learner = replace(LEARNER, rounds=rounds)
    spread = [learner.rounds_of_slice(s, slices) for s in range(slices)]
    assert sum(spread) == rounds
    assert spread == sorted(spread, reverse=True)
    assert max(spread) - min(spread) <= 1
    assert min(spread) >= 1


@pytest.mark.parametrize("cut", [0, 1, 40, 0.3, 0.5, 0.9, -1, -300])
def test_a_checkpoint_that_was_cut_short_is_refused(cut):
    features, target = table()
    model = fit(features, target)
    short = model[: int(cut * len(model)) if isinstance(cut, float) else cut]
    with pytest.raises(InputError, match="not a LightGBM model"):
        predict(short, features)
    with pytest.raises(InputError, match="not a LightGBM model"):
        fit(features, target, resume=short)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"{}", b"\x80\x04."])
def test_what_is_no_checkpoint_is_refused(content):
    with pytest.raises(InputError, match="not a LightGBM model"):
        predict(content, table()[0])
