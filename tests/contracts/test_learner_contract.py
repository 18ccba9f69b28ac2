"""What every learner of the registry promises (`Learner`).

A new one is tried with its defaults, or with what `TRIED` gives it; which targets it is for it says itself.
"""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from contextlib import suppress
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

from workbench.config import TrainConfig
from workbench.errors import InputError
from workbench.schema.column import Column
from workbench.sisa.learners.registry import LEARNERS as REGISTERED
from workbench.sisa.shard import Shard, fit_whole
from workbench.sisa.task import Task
from workbench.sisa.training import learner_of

EVERY = ("binary", "multiclass", "regression")
CLASSES = ("binary", "multiclass")
TRIED = {  # what is quicker than the defaults, and lists of estimators
    "gradient_boosting": {"": {"rounds": 12, "learning_rate": 0.2, "leaves": 7, "min_rows_per_leaf": 3}},
    "ridge": {"": {"penalty": 0.1}},
    "mlp": {"": {"hidden": [16], "epochs": 40, "batch": 32, "learning_rate": 0.02}},
    "dp_mlp": {"": {"epsilon": 8, "delta": 1e-5, "rows": 240, "epochs": 5}},
    "extra_trees": {"": {"trees": 3, "min_rows_per_leaf": 2}},
    "sklearn": {
        " RandomForest": {"estimator": "RandomForest", "parameters": {"n_estimators": 3}},
        " DecisionTree": {"estimator": "DecisionTree", "parameters": {"min_samples_leaf": 5}},
        " HistGradientBoosting": {
            "estimator": "HistGradientBoosting",
            "parameters": {"max_iter": 3, "learning_rate": 0.3, "min_samples_leaf": 5},
        },
        " ElasticNet": {"estimator": "ElasticNet", "parameters": {"alpha": 0.001}},
    },
}
SETTINGS = {
    f"{spec.name}{variant}": given
    for spec in REGISTERED
    for variant, given in TRIED.get(
        spec.name, {"": {"epsilon": 8, "delta": 1e-5, "rows": 240} if spec.private else {}}
    ).items()
}
FEWER = {"dp_mlp": CLASSES, "sklearn RandomForest": ("binary",)}  # for time: the others are like these
LABELS = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c", "d"), "regression": ()}
EDGES = {"binary": (-0.6,), "multiclass": (-2.0, -0.6, 0.8)}  # classes of like size
N_SLICES = 3


def spec_of(name):
    return REGISTERED[name.split()[0]]


@cache
def learner_named(name):
    return learner_of(TrainConfig(learner=name.split()[0], dataset="d", shards=1, slices=1, **SETTINGS[name]))


def kinds_of(name):
    """The kinds of target that a learner does not refuse."""
    found = []
    for kind in FEWER.get(name, EVERY):
        with suppress(InputError):
            assert list(learner_named(name).train([], task=task_of_kind(kind))) == []
            found.append(kind)
    return tuple(found)


def task_of_kind(kind):
    columns = (
        Column(kind="continuous", bounds=(-4, 4), missing=True),
        Column(kind="integer", bounds=(0, 9), bins=5),
        Column(kind="categorical", categories=tuple("abcdef"), missing=True),
        Column(kind="boolean"),
    )
    labels = LABELS[kind]
    target = Column(kind="categorical", categories=labels) if labels else Column(kind="continuous", bounds=(-9, 9))
    return Task(kind=kind, labels=labels, features=tuple("wxyz"), columns=columns, target=target)


LEARNERS = {name: kinds_of(name) for name in SETTINGS}
every_case = pytest.mark.parametrize(("name", "kind"), [(n, kind) for n, kinds in LEARNERS.items() for kind in kinds])
exact_cases = [(n, kind) for n, kinds in LEARNERS.items() for kind in kinds if not spec_of(n).private]
every_exact_case = pytest.mark.parametrize(("name", "kind"), exact_cases)


def table(kind, n=240, seed=0):
    """Features and a target that follows the first three of them."""
    rng = np.random.default_rng(seed)
    numbers, whole = rng.normal(size=n).clip(-4, 4), rng.integers(0, 10, n)
    codes = rng.integers(0, 6, n)
    signal = (numbers + 0.3 * whole - 0.8 * codes + rng.normal(0, 0.1, n)).clip(-9, 9)
    features = np.column_stack([numbers, whole, codes, rng.integers(0, 2, n)]).astype(float)
    features[rng.random(n) < 0.1, 0] = np.nan
    features[rng.random(n) < 0.1, 2] = np.nan
    if kind == "regression":
        return features, signal
    return features, np.digitize(signal, EDGES[kind]).astype(float)


def shard_with(features, target, slices=None, *, n_slices=N_SLICES, number=2, seed=5, **start):
    n = len(features)
    slices = np.arange(n) * n_slices // max(n, 1) if slices is None else np.asarray(slices, dtype=np.int64)
    points = np.arange(n, dtype=np.uint64)
    return Shard(
        number=number,
        features=features,
        target=target,
        points=points,
        slices=slices,
        n_slices=n_slices,
        seed=seed,
        **start,
    )


def models_of(name, kind, *shards):
    """The models of each shard, slice by slice."""
    found = {shard.number: [] for shard in shards}
    for number, slice_number, model in learner_named(name).train(shards, task=task_of_kind(kind)):
        first = next(s.first for s in shards if s.number == number)
        assert slice_number == first + len(found[number]), "a shard's slices come in their order"
        found[number].append(model)
    return [found[shard.number] for shard in shards]


@cache
def trained_on(name, kind, n=240):
    """The models of the table in its slices; those who compare with them share them."""
    (models,) = models_of(name, kind, shard_with(*table(kind, n)))
    return tuple(models)


def without(shard, gone, **start):
    keep = np.setdiff1d(np.arange(len(shard)), gone)
    rows = {name: getattr(shard, name)[keep] for name in ("features", "target", "points", "slices")}
    return replace(shard, **rows, **start)


def predict(name, kind, model, features):
    return learner_named(name).predict(model, features, task=task_of_kind(kind))


@pytest.mark.parametrize("name", LEARNERS)
def test_it_declares_what_it_is(name):
    assert LEARNERS[name], "it is for some kind of target"
    settings = {"learner": name.split()[0], "dataset": "d", "shards": 1, "slices": 2, **SETTINGS[name]}
    if spec_of(name).resumes:
        TrainConfig.model_validate(settings)
    else:
        with pytest.raises(ValueError, match="slice"):
            TrainConfig.model_validate(settings)
    with pytest.raises(AttributeError):
        learner_named(name).shards = 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("logistic_regression", "regression"),
        ("naive_bayes", "regression"),
        ("ridge", "binary"),
        ("ridge", "multiclass"),
        ("sklearn ElasticNet", "binary"),
    ],
)
def test_a_target_that_a_learner_is_not_for_is_refused_before_any_row_is_seen(name, kind):
    with pytest.raises(InputError, match=f"this one is {kind}"):
        list(learner_named(name).train([], task=task_of_kind(kind)))


@every_exact_case
def test_going_on_from_any_checkpoint_gives_the_same_bytes(name, kind):
    shard, whole = shard_with(*table(kind)), list(trained_on(name, kind))
    assert len(whole) == N_SLICES
    for first in range(1, N_SLICES):
        assert models_of(name, kind, replace(shard, first=first, checkpoint=whole[first - 1])) == [whole[first:]]
        assert whole[first].startswith(whole[first - 1]) or not spec_of(name).grows


@every_exact_case
def test_a_model_depends_on_its_slices_alone_and_on_all_of_them(name, kind):
    shard, whole = shard_with(*table(kind)), list(trained_on(name, kind))
    (early,) = models_of(name, kind, without(shard, np.flatnonzero(shard.slices > 1)))
    assert early[:2] == whole[:2]
    for slice_number in range(N_SLICES):
        (others,) = models_of(name, kind, without(shard, np.flatnonzero(shard.slices == slice_number)[:30]))
        assert [a == b for a, b in zip(whole, others, strict=True)] == [r < slice_number for r in range(N_SLICES)]


@every_exact_case
def test_shards_trained_side_by_side_are_as_if_alone(name, kind):
    shards = [shard_with(*table(kind, n, seed=n), number=place, n_slices=2) for place, n in enumerate((90, 0, 7, 64))]
    together = models_of(name, kind, *shards)
    assert together[1] == [None, None], "an empty shard abstains"
    assert together[:1] == models_of(name, kind, shards[0])
    assert together[2:] == models_of(name, kind, *shards[:1:-1])[::-1]


@every_exact_case
@pytest.mark.parametrize("empty", [(0,), (1,)])
def test_empty_slices_are_passed_over(name, kind, empty):
    features, target = table(kind, 60)
    places = np.random.default_rng(1).choice([s for s in range(N_SLICES) if s not in empty], 60)
    shard = shard_with(features, target, places)
    (models,) = models_of(name, kind, shard)
    assert [m is None for m in models] == [all(s in empty for s in range(r + 1)) for r in range(N_SLICES)]
    for first in range(1, N_SLICES):
        assert models_of(name, kind, replace(shard, first=first, checkpoint=models[first - 1])) == [models[first:]]


@pytest.mark.parametrize(("name", "kind"), exact_cases)
@settings(max_examples=4)
@given(drawn=st.data())
def test_an_erasure_ends_where_training_from_scratch_does(name, kind, drawn):
    """Slices of any size, any rows erased: the checkpoints before the first touched slice stay, the rest is as from scratch."""
    places = drawn.draw(st.lists(st.integers(0, N_SLICES - 1), min_size=1, max_size=24))
    gone = drawn.draw(st.sets(st.integers(0, len(places) - 1), min_size=1))
    shard = shard_with(*table(kind, len(places), seed=len(places)), places)
    first = min(places[row] for row in gone)
    (before,) = models_of(name, kind, shard)
    checkpoint = before[first - 1] if first else None
    (after,) = models_of(name, kind, without(shard, sorted(gone), first=first, checkpoint=checkpoint))
    assert [before[:first] + after] == models_of(name, kind, without(shard, sorted(gone)))


def digests(cases):
    found = []
    for name, kind in cases:
        (models,) = models_of(name, kind, shard_with(*table(kind), n_slices=2))
        found.append(hashlib.sha256(models[-1]).hexdigest())
        found.append(hashlib.sha256(predict(name, kind, models[-1], table(kind, 50)[0]).tobytes()).hexdigest())
    return found


_ELSEWHERE = """
import sys
sys.path.insert(0, sys.argv[1])
from test_learner_contract import digests, exact_cases
print(*digests(exact_cases), sep="\\n")
"""


def test_another_process_with_other_threads_gives_the_same_bytes():
    here = max((library["num_threads"] for library in threadpool_info()), default=1)
    threads = "2" if here == 1 else "1"
    variables = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED"), threads)
    command = [sys.executable, "-c", _ELSEWHERE, os.path.dirname(__file__)]  # noqa: PTH120
    done = subprocess.run(command, env=os.environ | variables, check=True, capture_output=True, text=True)
    assert done.stdout.split() == digests(exact_cases)


@every_case
@pytest.mark.parametrize("n", [1, 2, 240])
def test_predictions_have_one_column_per_class_and_sum_to_one(name, kind, n):
    features, target = table(kind)
    model = fit_whole(learner_named(name), features[:n], target[:n], task=task_of_kind(kind))
    predicted = predict(name, kind, model, features)
    assert predicted.shape == (240, len(LABELS[kind]) or 1)
    assert predicted.dtype == np.float64
    assert np.isfinite(predicted).all()
    # another batch may differ in its last bits (of a float32), by how BLAS cuts it
    np.testing.assert_allclose(predict(name, kind, model, features[:1]), predicted[:1], rtol=1e-6)
    if kind != "regression":
        assert ((predicted >= 0) & (predicted <= 1)).all()
        np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-12)


@every_exact_case
def test_it_learns(name, kind):
    features, target = table(kind, 1200)
    model = fit_whole(learner_named(name), features[:1000], target[:1000], task=task_of_kind(kind))
    predicted, true = predict(name, kind, model, features[1000:]), target[1000:]
    if kind == "regression":
        assert ((predicted[:, 0] - true) ** 2).mean() < 0.6 * ((target[:1000].mean() - true) ** 2).mean()
    else:
        share = np.bincount(target[:1000].astype(int)) / 1000
        own = predicted[np.arange(200), true.astype(int)]
        assert -np.log(own.clip(1e-3)).mean() < -np.log(share[true.astype(int)]).mean() - 0.1


@pytest.mark.parametrize(("name", "kind"), [case for case in exact_cases if case[1] != "regression"])
def test_a_shard_of_one_class_is_trained_on_and_bears_the_others_later(name, kind):
    features, target = table(kind)
    target[:60] = 1
    (models,) = models_of(name, kind, shard_with(features, target, np.arange(240) // 60, n_slices=4))
    certain = predict(name, kind, models[0], features)
    assert (certain.argmax(axis=1) == 1).all()
    if name not in ("sklearn RandomForest", "sklearn DecisionTree", "extra_trees"):  # those say 0
        assert (certain > 0).all(), "an absent class is unlikely, not impossible"
    later = predict(name, kind, models[-1], features[60:])
    assert (later.argmax(axis=1) == target[60:]).mean() > 1.5 / len(LABELS[kind])


@cache
def ordinary(name, kind):
    return fit_whole(learner_named(name), *table(kind, 60), task=task_of_kind(kind))


ODD = {
    "constant features": lambda features: np.ones_like(features),
    "an all-missing feature": lambda features: np.column_stack([np.full(len(features), np.nan), features[:, 1:]]),
    "nothing but missing values": lambda features: np.full_like(features, np.nan),
    "numbers beyond the bounds": lambda features: features * [1e300, 1e-300, 1, 1],
    "codes beyond the domain": lambda features: features + np.array([0, 0, 999, 7]),
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [  # odd features meet the design of a learner, and its loss: of two classes or four, in most one and the same
        pytest.param(n, kind, marks=[pytest.mark.slow] * (kind == "multiclass"))
        for n, kinds in LEARNERS.items()
        for kind in kinds
    ],
)
@pytest.mark.parametrize("case", ODD)
def test_an_odd_table_is_trained_on_and_answered(name, kind, case):
    features, target = table(kind, 60)
    odd = ODD[case](features)
    private = spec_of(name).private
    shard = shard_with(odd, target, n_slices=1 if private else 2)
    (models,) = models_of(name, kind, shard)
    if not private:
        assert models_of(name, kind, replace(shard, first=1, checkpoint=models[0])) == [models[1:]]
    for asked in (features, odd):
        assert np.isfinite(predict(name, kind, models[-1], asked)).all()
    assert np.isfinite(predict(name, kind, ordinary(name, kind), odd)).all()


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
def test_a_target_that_is_no_number_is_refused(wrong):
    features, target = table("regression", 20)
    target[7] = wrong
    with pytest.raises(InputError, match="infinite or missing"):
        shard_with(features, target)


@every_exact_case
def test_a_model_depends_on_every_row_it_is_given(name, kind):
    features, target = table(kind, 60)
    model = ordinary(name, kind)
    assert model == fit_whole(learner_named(name), features.copy(), target.copy(), task=task_of_kind(kind))
    changed = target.copy()
    changed[0] = target[target != target[0]][0]
    assert model != fit_whole(learner_named(name), features, changed, task=task_of_kind(kind))


def damaged(model):
    yield from (model[:0], model[:1], model[:40], model[: len(model) // 2], model[:-1], model[:-300], model[1:])
    yield from (b"\xff\xfe", b"{}", b"PK\x05\x06" + bytes(18), pickle.dumps({"weights": [1.0]}), pickle.dumps(print))
    yield model + model[:100]


@every_case
def test_a_damaged_checkpoint_is_refused(name, kind):
    features, target = table(kind, 60)
    resumes = spec_of(name).resumes
    shard = shard_with(features, target, n_slices=2 if resumes else 1)
    (models,) = models_of(name, kind, shard)
    for wrong in damaged(models[-1]):
        with pytest.raises(InputError, match="checkpoint"):
            predict(name, kind, wrong, features)
        if resumes:
            with pytest.raises(InputError, match="checkpoint"):
                models_of(name, kind, replace(shard, first=1, checkpoint=wrong))


def test_no_learner_takes_the_model_of_another():
    features, _ = table("binary", 60)
    names = [name for name, kinds in LEARNERS.items() if "binary" in kinds]
    models = {name: ordinary(name, "binary") for name in names}
    for reader in names:
        for writer in names:
            if reader != writer:
                with pytest.raises(InputError, match="checkpoint"):
                    predict(reader, "binary", models[writer], features)


OTHERWISE = {
    "gradient_boosting": {"learning_rate": 0.5},
    "logistic_regression": {"penalty": 7.0},
    "ridge": {"penalty": 7.0},
    "naive_bayes": {"smoothing": 7.0},
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_equal_bytes_are_equal_answers(name):
    """What is remembered of a model's answers is found by its digest: a setting that changes them must change the bytes."""
    kind = LEARNERS[name][0]
    (features, target), task = table(kind, 60), task_of_kind(kind)
    other = replace(learner_named(name), **OTHERWISE[name])
    assert fit_whole(other, features, target, task=task) != fit_whole(learner_named(name), features, target, task=task)


SUMMED = [(name, kind) for name, kind in exact_cases if hasattr(learner_named(name), "forget")]


@pytest.mark.parametrize(("name", "kind"), SUMMED)
@settings(max_examples=25)
@given(drawn=st.data())
def test_forgetting_rows_is_training_without_them(name, kind, drawn):
    n = drawn.draw(st.integers(1, 40))
    gone = sorted(drawn.draw(st.sets(st.integers(0, n - 1), min_size=1)))
    shard, task = shard_with(*table(kind, n, seed=n), n_slices=2), task_of_kind(kind)
    (models,), (scratch,) = models_of(name, kind, shard), models_of(name, kind, without(shard, gone))
    for slice_number in range(2):
        mine = [row for row in gone if shard.slices[row] <= slice_number]
        if models[slice_number] is not None:
            forget = learner_named(name).forget
            rest = forget(models[slice_number], shard.features[mine], shard.target[mine], task=task)
            assert rest == scratch[slice_number]


@pytest.mark.parametrize(("name", "kind"), SUMMED)
def test_rows_that_were_never_learnt_cannot_be_forgotten(name, kind):
    (features, target), task = table(kind, 20), task_of_kind(kind)
    model = fit_whole(learner_named(name), features[:5], target[:5], task=task)
    with pytest.raises(InputError, match="not among those"):
        learner_named(name).forget(model, features, target, task=task)
    with pytest.raises(InputError, match="checkpoint"):
        learner_named(name).forget(model[:-8], features[:1], target[:1], task=task)


def test_ridge_is_the_solution_of_its_equations():
    """Against scikit-learn's, on the same vectors and a target of wide bounds."""
    from sklearn.linear_model import Ridge as Oracle

    from workbench.sisa.learners.design import Design
    from workbench.sisa.learners.ridge import Ridge

    features, target = table("regression", 500)
    task = replace(task_of_kind("regression"), target=Column(kind="continuous", bounds=(-1e4, 1e6)))
    vectors = Design(task.columns).matrix(features).astype(float)
    expected = Oracle(alpha=0.1).fit(vectors, target).predict(vectors)
    learner = Ridge(penalty=0.1)
    told = learner.predict(fit_whole(learner, features, target, task=task), features, task=task)
    np.testing.assert_allclose(told[:, 0], expected, atol=1e-3)


def test_naive_bayes_is_laplace_by_hand():
    from workbench.sisa.learners.naive_bayes import NaiveBayes

    task = replace(task_of_kind("binary"), columns=(Column(kind="boolean"),), features=("z",))
    learner = NaiveBayes(smoothing=1.0)
    model = fit_whole(learner, np.array([[1.0], [1.0], [0.0]]), np.array([1.0, 1.0, 0.0]), task=task)
    # classes (1 + 1) / (3 + 2) and (2 + 1) / (3 + 2); true in them (0 + 1) / (1 + 3) and (2 + 1) / (2 + 3), missing a cell too
    joint = np.array([2 / 5 * 1 / 4, 3 / 5 * 3 / 5])
    np.testing.assert_allclose(learner.predict(model, np.array([[1.0]]), task=task), [joint / joint.sum()])


def test_a_design_too_wide_for_ridge_is_refused():
    wide = Column(kind="categorical", categories=tuple(map(str, range(5000))))
    task = replace(task_of_kind("regression"), columns=(wide,), features=("w",))
    with pytest.raises(InputError, match="at most 4096"):
        list(learner_named("ridge").train([], task=task))


TREES = [("extra_trees", "binary"), ("sklearn DecisionTree", "binary"), ("sklearn HistGradientBoosting", "multiclass")]


@pytest.mark.parametrize(("name", "kind"), TREES)
@pytest.mark.parametrize("wrong", ["child", "circle", "feature"])
def test_a_tree_whose_nodes_lead_out_of_it_is_refused(name, kind, wrong, monkeypatch):
    """Compiled code would follow them to wherever they point."""
    from workbench.sisa.learners import saved_estimator

    fields = {
        "child": ("left_child", "left", 10**6),
        "circle": ("right_child", "right", 0),
        "feature": ("feature", "feature_idx", 99),
    }
    *names, number = fields[wrong]

    def forged(content):
        nodes = np.load(io.BytesIO(content), allow_pickle=False)
        if nodes.dtype.names:
            nodes[next(n for n in names if n in nodes.dtype.names)][0] = number
        sink = io.BytesIO()
        np.save(sink, nodes)
        return sink.getvalue()

    monkeypatch.setattr(saved_estimator, "_canonical_array", forged)
    features, target = table(kind, 60)
    model = fit_whole(learner_named(name), features, target, task=task_of_kind(kind))
    with pytest.raises(InputError, match="not a"):
        predict(name, kind, model, features)


def test_an_estimator_is_taken_apart_as_skops_writes_it() -> None:
    from sklearn.tree import DecisionTreeClassifier
    from skops.io import dumps

    from workbench.sisa.learners.saved_estimator import _dumped, _without_ids

    tree = DecisionTreeClassifier(random_state=0).fit([[0.0], [1.0], [2.0]], [0, 1, 0])
    with zipfile.ZipFile(io.BytesIO(dumps(tree))) as archive:
        theirs = {name: archive.read(name) for name in archive.namelist()}
    written = json.loads(theirs.pop("schema.json"))
    schema, arrays = _dumped(tree)
    assert sorted(arrays.values()) == sorted(theirs.values())
    mine, same = ({name: hashlib.sha256(files[name]).hexdigest() for name in files} for files in (arrays, theirs))
    assert _without_ids(schema, mine) == _without_ids(written, same)
