"""The private learner is charged before it reads, bounds people and not rows, and is erased from by lineage."""

import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import PUPILS_SCHEMA, pupils
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from pydantic import ValidationError
from shared import changed, copied
from test_mlp import LABELS, shard_with, table, task_of_kind

from workbench.config import TrainConfig
from workbench.data.store import Store
from workbench.errors import BudgetError, InputError
from workbench.privacy.calibration import epsilon_of, filter_order
from workbench.privacy.ledger import LINE, Ledger, spent
from workbench.privacy.sampling import poisson_sample
from workbench.sisa.learners import dp_sgd
from workbench.sisa.learners.dp_mlp import DpMlp
from workbench.sisa.learners.dp_sgd import Bags, NoisySteps
from workbench.sisa.learners.layers import Layers, inputs_of, layers_of, targets_of
from workbench.sisa.training import event_of, learner_of
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.verify import verify
from workbench.workflows.evaluation.report import report_certificate
from workbench.workflows.training.advise_shards import advise
from workbench.workflows.training.predict import predict_frame
from workbench.workflows.training.publish_version import current_versions, read_manifest
from workbench.workflows.training.train import train
from workbench.workflows.training.train_shards import objects_of

LEARNER = DpMlp(hidden=(6,), epochs=3, batch=32, learning_rate=0.02, clip=1.0, epsilon=8.0, delta=1e-5, subjects=100)
CONFIG = {
    "learner": "dp_mlp",
    "dataset": "pupils",
    "shards": 4,
    "slices": 1,
    "rows": 800,
    "epochs": 2,
    "batch": 224,  # everybody is in every step: the sampling of fewer takes long to price
    "hidden": [6],
    "epsilon": 1.0,
    "delta": 1e-5,
}


def config(**changes):
    return TrainConfig.model_validate(CONFIG | changes)


def private_shard(n, kind="binary", **changes):
    return replace(shard_with(n, kind, n_slices=1), **changes)


def model_of(shard, kind="binary", learner=LEARNER):
    ((number, slice_number, model),) = learner.train([shard], task=task_of_kind(kind))
    assert (number, slice_number) == (shard.number, 0)
    return model


def test_the_event_is_that_of_the_steps_and_costs_what_was_asked():
    assert (LEARNER.rate, LEARNER.steps) == (0.32, 10)
    step = PoissonSampledDpEvent(0.32, GaussianDpEvent(LEARNER.noise))
    assert LEARNER.event == SelfComposedDpEvent(step, 10)
    assert 7.9 < epsilon_of(LEARNER.event, 1e-5, orders=(filter_order(8, 1e-5),)) <= 8
    assert replace(LEARNER, subjects=5).rate == 1
    with pytest.raises(InputError):
        replace(LEARNER, epsilon=0.0)


def test_all_noise_that_was_priced_is_drawn(monkeypatch):
    """As many steps as the event has, each with a fresh sample at its rate and with its noise on the clipped sum."""
    drawn, sampled, stirred = [], [], []
    normal, stir = torch.normal, dp_sgd.stir
    monkeypatch.setattr(torch, "normal", lambda **given: drawn.append(given) or normal(**given))
    monkeypatch.setattr(dp_sgd, "poisson_sample", lambda n, q: sampled.append((n, q)) or poisson_sample(n, q))
    monkeypatch.setattr(dp_sgd, "stir", lambda generator: stirred.append(generator) or stir(generator))
    model_of(private_shard(90))
    assert sampled == [(45, LEARNER.rate)] * LEARNER.steps, "two rows each: people are drawn, not rows"
    assert len(stirred) == LEARNER.steps
    noises = [given for given in drawn if given["std"] > 0]
    assert len(noises) == 2 * LEARNER.steps, "one for each layer"
    assert {given["std"] for given in noises} == {LEARNER.noise * LEARNER.clip}
    assert {id(given["generator"]) for given in noises} == {id(stirred[0])}


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("rows", [1, 3])
def test_what_a_subject_adds_to_a_step_is_bounded_however_many_rows_they_have(kind, rows):
    """A step without noise and momentum: with the subject and without, sums differ by the clipping norm at most."""
    task, layers = replace(task_of_kind(kind), max_rows_per_subject=3), layers_of(task_of_kind(kind), (6,))
    features, target = table(kind, 30)
    points = np.concatenate([np.zeros(rows), np.arange(1, 31 - rows)]).astype(np.uint64)
    bags = Bags(inputs_of(features, task), targets_of(target, task), points, width=3)
    start = np.random.default_rng(0).normal(size=layers.size).astype(np.float32)

    def gradient(subjects):
        network = dp_sgd._Network(start, layers)
        module = dp_sgd.GradSampleModule(network, loss_reduction="sum")
        sgd = torch.optim.SGD(network.parameters(), lr=1.0)
        optimizer = dp_sgd.DPOptimizer(sgd, noise_multiplier=0.0, max_grad_norm=0.5, expected_batch_size=1)
        dp_sgd._differentiate(module, bags, subjects, kind)
        optimizer.step()
        return dp_sgd._Network(start, layers).weights(layers) - network.weights(layers)

    everyone = np.arange(len(bags))
    assert len(bags) == 31 - rows
    moved = np.linalg.norm(gradient(everyone) - gradient(everyone[1:]))
    assert 0.01 < moved <= 0.5 * (1 + 1e-4)
    assert np.linalg.norm(gradient(everyone[:0])) == 0, "an empty batch moves nothing"


def test_large_batches_in_parts_are_one_step(monkeypatch):
    """The memory bound changes neither the sum nor how often noise is added."""
    task, layers = task_of_kind("binary"), Layers((11, 6, 2))
    features, target = table(n=50)
    bags = Bags(inputs_of(features, task)[:, :11], targets_of(target, task), np.arange(50, dtype=np.uint64), width=1)
    start = layers.start(4, 0)
    steps = NoisySteps(count=3, rate=1.0, noise=0.0, clip=1.0, learning_rate=0.1, expected=50)
    whole = dp_sgd.train(start, layers, bags, steps, kind="binary")
    monkeypatch.setattr(dp_sgd, "_AT_ONCE", 7)
    np.testing.assert_allclose(dp_sgd.train(start, layers, bags, steps, kind="binary"), whole, atol=1e-4)


def test_the_unit_that_is_always_one_stays_so_for_the_numpy_network():
    task, layers = task_of_kind("multiclass"), layers_of(task_of_kind("multiclass"), (6, 5))
    start = np.random.default_rng(0).normal(size=layers.size).astype(np.float32)
    network, inputs = dp_sgd._Network(start, layers), inputs_of(table()[0], task)
    ends = layers.parts[-1][1]
    np.testing.assert_array_equal(network.weights(layers)[:ends], start[:ends])
    expected = network(torch.from_numpy(inputs)[:, None])[:, 0].detach().numpy()
    np.testing.assert_allclose(layers.outputs(start, inputs), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", LABELS)
def test_no_training_is_like_another_and_a_shard_without_rows_has_a_model_too(kind):
    shard = private_shard(60, kind)
    models = [model_of(shard, kind), model_of(shard, kind), model_of(private_shard(0, kind), kind)]
    assert len(set(models)) == 3
    for model in models:
        predicted = LEARNER.predict(model, shard.features, task=task_of_kind(kind))
        assert np.isfinite(predicted).all()
    with pytest.raises(InputError, match="not a network"):
        LEARNER.predict(models[0][:-1], shard.features, task=task_of_kind(kind))


def test_it_learns():
    features, target = table(n=2000)
    shard = private_shard(2000, features=features, target=target, points=np.arange(2000, dtype=np.uint64))
    learner = replace(LEARNER, hidden=(16,), epochs=60, batch=2048, subjects=2000, learning_rate=0.03)
    predicted = learner.predict(model_of(shard, learner=learner), features, task=task_of_kind("binary"))
    assert (predicted.argmax(axis=1) == target).mean() > 0.8


def test_a_config_declares_what_the_training_may_know():
    assert config().settings["subjects"] == 200
    assert learner_of(config()).event == event_of(config())
    assert TrainConfig.model_validate(config().model_dump(mode="json")) == config()
    for wrong in ({"slices": 2}, {"rows": None}, {"rows": 3}, {"epsilon": None}, {"delta": None}, {"rounds": 5}):
        with pytest.raises(ValidationError):
            config(**wrong)
    with pytest.raises(ValidationError, match="epsilon is for dp_mlp"):
        TrainConfig(learner="mlp", dataset="d", shards=1, slices=1, epsilon=1.0)


@pytest.fixture
def ready(empty_workspace, tmp_path, tmp_path_factory):
    def change(workspace, folder):
        (folder / "s.yaml").write_text(PUPILS_SCHEMA, encoding="utf-8")
        pupils(120).to_parquet(folder / "t.parquet", index=False)
        ingest(workspace, "pupils", schema=folder / "s.yaml", data=folder / "t.parquet")

    return copied(changed(tmp_path_factory, "few-pupils", empty_workspace, change), tmp_path)


def manifest_of(workspace):
    with workspace.engine.connect() as connection:
        (artifact,) = current_versions(connection, "pupils").values()
    return read_manifest(workspace, artifact)


def one_of_shard(workspace, shard):
    """A pupil of the training rows whom this shard saw."""
    for number in range(1000, 1120):
        answer = erase(workspace, [f"pupil-{number}"], dry_run=True)
        if answer.requests[0].shards == (shard,):
            return f"pupil-{number}"
    raise AssertionError


def predicate_of(result):
    envelope = json.loads(Path(result.certificate).read_bytes())
    return json.loads(base64.b64decode(envelope["payload"]))["predicate"]


def spent_by(workspace, shard):
    """What the ledger says that a shard's subjects have spent."""
    middle = (2 * shard + 1) * LINE // 8
    entries = Ledger(workspace.engine).entries("pupils")
    mine = [entry for entry in entries if any(low <= middle < high for low, high in entry.scope)]
    return spent(mine, 1e-5)


def test_nothing_is_read_before_the_charge(ready, monkeypatch):
    def read(*_, **__):
        raise AssertionError("rows were read")

    monkeypatch.setattr(Store, "_bucket", read)
    with pytest.raises(BudgetError, match="no privacy budget"):
        train(ready, config())
    Ledger(ready.engine).set_budget("pupils", epsilon=0.5, delta=1e-5)
    with pytest.raises(BudgetError, match="exceed"):
        train(ready, config())
    assert not Ledger(ready.engine).entries("pupils")
    with pytest.raises(InputError, match="would be charged"):
        advise(ready, config())


def test_erasing_trains_the_shard_anew_for_its_own_budget_until_that_is_spent_and_then_it_abstains(ready, tmp_path):
    Ledger(ready.engine).set_budget("pupils", epsilon=1.6, delta=1e-5, reason="a test")
    train(ready, config())
    first, once = manifest_of(ready), spent_by(ready, 0)
    assert 0.99 < once <= 1
    assert [spent_by(ready, shard) for shard in range(4)] == [once] * 4, "parallel composition: all shards cost once"

    pupil = one_of_shard(ready, 1)
    plan = erase(ready, [pupil], dry_run=True).plan[0].ensembles[0]
    assert (plan.epsilon, plan.delta) == (1.0, 1e-5)
    result = erase(ready, [pupil]).requests[0]
    second = manifest_of(ready)
    assert [a == b for a, b in zip(first.constituents, second.constituents, strict=True)] == [True, False, True, True]
    assert spent_by(ready, 1) > once
    assert [spent_by(ready, shard) for shard in (0, 2, 3)] == [once] * 3
    (model,) = predicate_of(result)["datasets"][0]["artifacts"]
    assert model["basis"].startswith("trained anew")
    assert (model["constituents_retrained"], model["constituents_abstaining"], model["epsilon"]) == (1, 0, 1.0)
    certificate = Path(result.certificate)
    replayed = verify(ready, certificate, replay=True)
    assert replayed.valid
    assert any("not replayed" in check.detail and "1 of 1" in check.detail for check in replayed.checks)
    report_certificate(ready, certificate, tmp_path / "page.html")
    assert "trained anew, differentially private" in (tmp_path / "page.html").read_text()

    result = erase(ready, [one_of_shard(ready, 1)]).requests[0]
    assert result.status == "completed"
    assert manifest_of(ready).constituents[1].digest is None
    assert spent_by(ready, 1) <= 1.6
    (model,) = predicate_of(result)["datasets"][0]["artifacts"]
    assert (model["constituents_retrained"], model["constituents_abstaining"]) == (0, 1)
    assert verify(ready, Path(result.certificate), replay=True).valid
    frame = pupils(5)[["term", "town", "hours"]]
    assert len(predict_frame(ready.root, manifest_of(ready).ensemble, frame)) == len(frame), (
        "the other three still answer"
    )


def test_a_damaged_private_checkpoint_is_not_replayed_but_trained_anew(ready):
    Ledger(ready.engine).set_budget("pupils", epsilon=4, delta=1e-5)
    train(ready, config())
    before = manifest_of(ready)
    path = objects_of(ready, "pupils").path(before.constituents[2].digest)
    path.chmod(0o600)
    path.write_bytes(b"damaged")
    erase(ready, [one_of_shard(ready, 0)])
    after = manifest_of(ready)
    same = [a == b for a, b in zip(before.constituents, after.constituents, strict=True)]
    assert same == [False, True, False, True]
    assert spent_by(ready, 2) == spent_by(ready, 0) > spent_by(ready, 1)
