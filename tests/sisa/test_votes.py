"""Votes on the holdout are remembered by what they were made of, and no more of them than memory is set aside for."""

from dataclasses import replace

import numpy as np
import pytest

from workbench.data import catalog
from workbench.sisa.learners.gradient_boosting import GradientBoosting
from workbench.workflows.training import holdout_predictions as votes
from workbench.workflows.training.publish_version import current_versions, read_manifest
from workbench.workflows.training.train_shards import objects_of


@pytest.fixture
def ensemble(trained, monkeypatch):
    monkeypatch.setattr(votes, "_known", votes.OrderedDict())
    with trained.engine.connect() as connection:
        (artifact,) = current_versions(connection, "pupils").values()
        store = catalog.store(connection, trained, "pupils")
    return read_manifest(trained, artifact), objects_of(trained, "pupils"), store.read("holdout")


@pytest.fixture
def predictions(monkeypatch):
    made, predict = [], GradientBoosting.predict
    monkeypatch.setattr(GradientBoosting, "predict", lambda *a, **k: (made.append(1), predict(*a, **k))[1])
    return made


def test_a_vote_is_computed_once_for_the_same_model_and_records(ensemble, predictions):
    manifest, objects, holdout = ensemble
    first = votes.votes_of(manifest, objects, holdout)
    assert len(predictions) == len(first) == 4
    np.testing.assert_array_equal(votes.votes_of(manifest, objects, holdout), first)
    assert len(predictions) == 4
    other = replace(manifest.constituents[1], checkpoints=manifest.constituents[0].checkpoints)
    changed = votes.votes_of(manifest.successor({1: other}), objects, holdout)
    assert len(predictions) == 4
    np.testing.assert_array_equal(changed[1], first[0])


def test_other_records_are_predicted_anew(ensemble, predictions):
    manifest, objects, holdout = ensemble
    votes.votes_of(manifest, objects, holdout)
    values = holdout.values.copy()
    values[0, 2] = 1.0
    votes.votes_of(manifest, objects, replace(holdout, values=values))
    assert len(predictions) == 8


def test_what_is_remembered_is_bounded(ensemble, predictions, monkeypatch):
    manifest, objects, holdout = ensemble
    monkeypatch.setattr(votes, "MOST_BYTES", 2 * len(holdout) * 16)
    for _ in range(2):
        assert len(votes.votes_of(manifest, objects, holdout)) == 4
        assert len(votes._known) == 2
    assert len(predictions) == 8
