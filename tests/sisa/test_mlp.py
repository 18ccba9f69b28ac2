"""Networks trained together have the bits they have alone, resume as if they had never stopped, and bear every odd table."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from workbench.config import TrainConfig
from workbench.errors import InputError
from workbench.schema.column import Column
from workbench.sisa.learners import vectorised_training
from workbench.sisa.learners.layers import Layers, inputs_of, layers_of
from workbench.sisa.learners.mlp import Mlp
from workbench.sisa.learners.visit_order import NOBODY, batches, keys_of, order, passes_of
from workbench.sisa.shard import Shard
from workbench.sisa.task import Task
from workbench.sisa.training import learner_of

LEARNER = Mlp(hidden=(6,), epochs=2, batch=32, learning_rate=0.01, weight_decay=0.1)
LABELS = {"binary": ("no", "yes"), "multiclass": ("a", "b", "c", "d"), "regression": ()}


def task_of_kind(kind):
    number = Column(kind="continuous", bounds=(-4, 4), missing=True)
    labels = LABELS[kind]
    return Task(
        kind=kind,
        labels=labels,
        features=("x", "y", "z"),
        columns=(number, number, Column(kind="categorical", categories=tuple("abcdef"))),
        target=Column(kind="categorical", categories=labels) if labels else Column(kind="continuous", bounds=(-9, 9)),
    )


def table(kind="binary", n=200, seed=0):
    rng = np.random.default_rng(seed)
    features = np.column_stack([rng.normal(size=(n, 2)), rng.integers(0, 6, n)])
    features[rng.random(n) < 0.1, 0] = np.nan
    signal = np.nan_to_num(features[:, 0]) + 0.3 * features[:, 2] + rng.normal(0, 0.1, n)
    if kind == "regression":
        return features, signal
    return features, np.digitize(signal, np.linspace(-0.5, 2, len(LABELS[kind]) + 1)[1:-1]).astype(float)


def shard_with(n, kind="binary", *, number=0, n_slices=3, empty=()):
    features, target = table(kind, n, seed=number)
    filled = [s for s in range(n_slices) if s not in empty]
    return Shard(
        number=number,
        features=features,
        target=target,
        points=np.arange(n, dtype=np.uint64) // np.uint64(2),
        slices=np.random.default_rng(n).choice(filled, n),
        n_slices=n_slices,
        seed=5,
    )


def trained(shards, kind="binary", learner=LEARNER):
    """Models by shard and slice; a shard's come in their order."""
    steps = list(learner.train(shards, task=task_of_kind(kind)))
    for shard in shards:
        mine = [slice_number for number, slice_number, _ in steps if number == shard.number]
        assert mine == list(range(shard.first, shard.n_slices))
    return {(number, slice_number): model for number, slice_number, model in steps}


def going_on(shard, models, first):
    return replace(shard, first=first, checkpoint=models[shard.number, first - 1] if first else None)


ragged = st.lists(st.tuples(st.integers(0, 150), st.integers(0, 2)), min_size=1, max_size=6)


@settings(max_examples=40, deadline=None)
@given(ragged, st.sampled_from(sorted(LABELS)), st.sets(st.integers(0, 2), max_size=2), st.data())
def test_shards_trained_together_have_the_bits_they_have_alone(sizes, kind, empty, data):
    shards = [shard_with(n, kind, number=i, empty=empty) for i, (n, _) in enumerate(sizes)]
    alone = {}
    for shard in shards:
        alone |= trained([shard], kind)
    assert trained(shards, kind) == alone
    begun = [going_on(shard, alone, first) for shard, (_, first) in zip(shards, sizes, strict=True)]
    chosen = data.draw(st.lists(st.sampled_from(begun), unique_by=lambda shard: shard.number))
    again = trained(chosen, kind)
    assert again == {place: alone[place] for place in again}


@pytest.mark.parametrize("count", [2, 3, 16, 40])
@pytest.mark.parametrize("hidden", [(64,), (33, 17)])
def test_however_many_are_trained_together(count, hidden):
    learner = replace(LEARNER, hidden=hidden, epochs=3)
    shards = [shard_with(40 + 7 * i, number=i, n_slices=1) for i in range(count)]
    together = trained(shards, learner=learner)
    for shard in (shards[0], shards[-1]):
        assert trained([shard], learner=learner)[shard.number, 0] == together[shard.number, 0]


@pytest.mark.parametrize("kind", LABELS)
def test_the_order_of_the_rows_does_not_matter(kind):
    shard, mixed = shard_with(150, kind), np.random.default_rng(1).permutation(150)
    parts = {name: getattr(shard, name)[mixed] for name in ("features", "target", "points", "slices")}
    assert trained([replace(shard, **parts)], kind) == trained([shard], kind)


def test_a_model_is_of_the_slices_so_far_and_of_nothing_else():
    shard = shard_with(150)
    models = trained([shard])
    for last in range(3):
        seen = shard.slices <= last
        early = {name: getattr(shard, name)[seen] for name in ("features", "target", "points", "slices")}
        again = trained([replace(shard, **early)])
        assert [again[0, r] == models[0, r] for r in range(3)] == [r <= last for r in range(3)]
    assert trained([replace(shard, number=1)])[1, 0] != models[0, 0]
    assert trained([replace(shard, seed=6)])[0, 0] != models[0, 0]
    changed = replace(shard, target=np.where(np.arange(150) == 3, 1 - shard.target, shard.target))
    assert trained([changed])[0, 2] != models[0, 2]


@pytest.mark.parametrize("empty", [(0,), (0, 1), (2,), (0, 1, 2)])
def test_empty_slices_give_no_model_or_more_passes_over_those_before(empty):
    shard = shard_with(0 if len(empty) == 3 else 50, empty=empty if len(empty) < 3 else ())
    models = trained([shard])
    assert [models[0, r] is None for r in range(3)] == [all(s in empty for s in range(r + 1)) for r in range(3)]
    assert len(set(models.values()) - {None}) == sum(model is not None for model in models.values())


_ELSEWHERE = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from test_mlp import LABELS, shard_with, trained
for kind in LABELS:
    print(hashlib.sha256(trained([shard_with(150, kind)], kind)[0, 2]).hexdigest())
"""


@pytest.mark.slow
def test_other_processes_and_thread_counts_give_the_same_bytes():
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "2"}
    command = [sys.executable, "-c", _ELSEWHERE, os.path.dirname(__file__)]  # noqa: PTH120
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    here, threads = [], torch.get_num_threads()
    for kind in LABELS:
        torch.set_num_threads(1)
        together = trained([shard_with(n, kind, number=i) for i, n in enumerate((150, 20, 300))], kind)
        here.append(hashlib.sha256(together[0, 2]).hexdigest())
        assert torch.get_num_threads() == 1
        torch.set_num_threads(threads)
    assert done.stdout.split() == here


def _losses(layers, kind):
    """The loss of one network as torch would write it, for torch to differentiate."""

    def loss(weights, inputs, targets, shares):
        *hidden, last = (matrix[0] for matrix in layers.matrices(weights[None]))
        values = inputs
        for matrix in hidden:
            values = torch.relu(values @ matrix)
            values = torch.cat([torch.ones_like(values[:, :1]), values[:, 1:]], dim=1)
        outputs = values @ last
        if kind == "multiclass":
            each = -(torch.log_softmax(outputs, dim=1) * targets).sum(dim=1)
        elif kind == "binary":
            each = torch.nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], targets[:, 0], reduction="none")
        else:
            each = (outputs[:, 0] - targets[:, 0]) ** 2 / 2
        return (each * shares[:, 0]).sum()

    return loss


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("hidden", [(8,), (8, 5, 4)])
def test_the_gradient_is_that_of_torch(kind, hidden):
    layers, rng = Layers((7, *hidden, 4 if kind == "multiclass" else 2)), torch.Generator().manual_seed(1)
    weights = torch.randn(3, layers.size, generator=rng) / 2
    layers.matrices(weights)[-1][:, :, 1:] *= kind == "multiclass"
    inputs, shares = torch.randn(3, 32, 7, generator=rng), torch.rand(3, 32, 1, generator=rng)
    targets = torch.rand(3, 32, layers.widths[-1], generator=rng)
    targets = targets / targets.sum(dim=2, keepdim=True) if kind == "multiclass" else targets
    targets[:, :, 1:] = targets[:, :, 1:] if kind == "multiclass" else 0.5 * (kind == "binary")
    expected = torch.func.vmap(torch.func.grad(_losses(layers, kind)))(weights, inputs, targets, shares)
    found = torch.zeros_like(weights)
    matrices, gradients = layers.matrices(weights), layers.matrices(found)
    vectorised_training._differentiate(matrices, gradients, inputs, targets, shares, vectorised_training._MEANING[kind])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_steps_are_those_of_adamw():
    rng = np.random.default_rng(0)
    start = rng.normal(size=64).astype(np.float32)
    theirs = torch.from_numpy(start.copy()).requires_grad_()
    adam = torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.1)
    weights, mean, square, scratch = (torch.from_numpy(start.copy())[None], *(torch.zeros(1, 64) for _ in range(3)))
    lap = vectorised_training.Lap(slice_number=0, batches=np.zeros((9, 32), dtype=np.int64))
    state = vectorised_training.State(weights=start, mean=start, square=start, steps=0)
    runner = vectorised_training._Runner(vectorised_training.Course(number=0, start=state, laps=iter([lap]), steps=9))
    runner.take(9)
    for correction in runner.corrections(9):
        gradient = torch.from_numpy(rng.normal(size=64).astype(np.float32))
        theirs.grad = gradient
        adam.step()
        slowness, keep = torch.tensor([1 / (0.01 * correction)]).float(), torch.tensor([1 - 0.01 * 0.1])
        vectorised_training._move(weights, mean, square, gradient[None].clone(), slowness, keep, scratch)
    torch.testing.assert_close(weights[0], theirs.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", LABELS)
def test_it_learns_and_its_answers_are_sound(kind):
    features, target = table(kind, 600)
    shard = replace(shard_with(600, kind, n_slices=2), features=features, target=target)
    model = trained([shard], kind, replace(LEARNER, hidden=(16,), epochs=40))[0, 1]
    predicted = replace(LEARNER, hidden=(16,)).predict(model, features, task=task_of_kind(kind))
    assert predicted.shape == (600, len(LABELS[kind]) or 1)
    if kind == "regression":
        assert 1 - ((predicted[:, 0] - target) ** 2).mean() / target.var() > 0.9
    else:
        assert (predicted.argmax(axis=1) == target).mean() > 0.85
        np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-12)


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("n", [1, 2, 31, 32, 33])
def test_few_rows_of_odd_values_are_learnt_from(kind, n):
    shard = shard_with(n, kind, n_slices=2)
    shard.features[:, 0] = [np.nan, np.inf, -np.inf, 1e300, -0.0][n % 5]
    shard.features[:, 2] = 99
    if kind == "regression":
        shard.target[0] = np.inf
    model = trained([shard], kind)[0, 1]
    predicted = LEARNER.predict(model, shard.features, task=task_of_kind(kind))
    assert np.isfinite(predicted).all()
    assert np.abs(predicted).max() <= 9


def test_a_pass_visits_each_row_once_and_an_erased_row_changes_no_other_ones_turn():
    keys = keys_of(shard_with(100))
    turns = order(keys, 7, 0)
    assert sorted(turns) == list(range(100))
    assert list(turns) != list(order(keys, 7, 1))
    assert list(turns) != list(order(keys, 8, 0))
    left = np.delete(np.arange(100), 40)
    assert list(left[order(keys[left], 7, 0)]) == [turn for turn in turns if turn != 40]
    cut = batches(turns, 32)
    assert cut.shape == (4, 32)
    assert (cut[-1, 4:] == NOBODY).all()


def test_keys_tell_rows_apart_but_not_signs_of_zero_nor_kinds_of_nan():
    shard = shard_with(100)
    assert len(np.unique(keys_of(shard))) == 100
    shard.features[:, 1] = 0.0
    zero = keys_of(shard)
    shard.features[:, 1] = -0.0
    np.testing.assert_array_equal(keys_of(shard), zero)
    shard.features[:, 1] = np.nan
    missing = keys_of(shard)
    shard.features[:, 1] = -np.float64("nan")
    np.testing.assert_array_equal(keys_of(shard), missing)


@pytest.mark.parametrize(("epochs", "slices"), [(15, 1), (15, 5), (15, 4), (1, 1), (1, 50), (7, 3), (40, 64)])
def test_slices_are_as_much_work_as_the_epochs_over_all_rows(epochs, slices):
    spread = [passes_of(epochs, r, slices) for r in range(slices)]
    work = sum(passes * (r + 1) / slices for r, passes in enumerate(spread))
    assert min(spread) >= 1
    assert max(spread) - min(spread) <= 1
    assert work == pytest.approx(max(epochs, (slices + 1) / 2), rel=0.1)


MODEL = trained([shard_with(50, n_slices=1)])[0, 0]


@pytest.mark.parametrize("content", [b"", b"{}", b"\x80\x04.", MODEL[:-1], MODEL[:40], MODEL + b"0"])
def test_what_is_no_checkpoint_is_refused(content):
    shard = replace(shard_with(50, n_slices=2), first=1, checkpoint=content)
    with pytest.raises(InputError, match="not a network"):
        trained([shard])
    with pytest.raises(InputError, match="not a network"):
        LEARNER.predict(content, shard.features, task=task_of_kind("binary"))


def test_a_checkpoint_of_other_settings_or_of_no_number_is_refused():
    features = table()[0]
    with pytest.raises(InputError, match="not a network"):
        replace(LEARNER, hidden=(7,)).predict(MODEL, features, task=task_of_kind("binary"))
    nan = MODEL[:-8] + np.array([np.nan], dtype=np.float64).tobytes()
    with pytest.raises(InputError, match="not a network"):
        LEARNER.predict(nan, features, task=task_of_kind("binary"))


def test_a_config_names_the_network_and_few_declared_rows_make_it_smaller():
    common = {"learner": "mlp", "dataset": "d", "shards": 20, "slices": 5}
    assert learner_of(TrainConfig(**common)) == Mlp(
        hidden=(64,), epochs=15, batch=64, learning_rate=0.002, weight_decay=0.1
    )
    few = TrainConfig(**common, rows=30_000, epochs=30)
    assert learner_of(few) == Mlp(hidden=(32,), epochs=30, batch=32, learning_rate=0.006, weight_decay=0.1)
    assert TrainConfig.model_validate(few.model_dump(mode="json")) == few
    for wrong in ({"batch": 33}, {"hidden": []}, {"hidden": [1]}, {"rounds": 9}, {"epochs": 0}):
        with pytest.raises(ValidationError):
            TrainConfig(**common, **wrong)


def test_inputs_are_the_vectors_of_the_rows_and_one():
    features, task = table()[0], task_of_kind("regression")
    inputs = inputs_of(features, task)
    assert inputs.shape == (200, layers_of(task, (4,)).widths[0]) == (200, 2 + 2 + 6 + 1)
    assert (inputs[:, -1] == 1).all()
