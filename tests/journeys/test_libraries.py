"""Libraries that changed since a training: an erasure trains the shard from its start, and a replay says what changed."""

from pathlib import Path

import pytest
from stored import ensemble_of, manifest_of, placed, store_of

from workbench.erasure import environment
from workbench.errors import InputError
from workbench.state import lineage
from workbench.workflows.erasure import verify as verify_module
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.verify import verify
from workbench.workflows.evaluation.forgetting_audit import forgetting
from workbench.workflows.training import publish_version as publish

OTHER = environment.learnt_with() | {"lightgbm": "5.0.0"}


@pytest.fixture
def late(trained):
    """Someone of the last slice: two slices before it could be kept."""
    partition, store = manifest_of(trained).partition, store_of(trained)
    records = store.read("train")
    last = set(records.points[partition.slice_of(records.slice_points) == 2].tolist())
    for key in placed(trained, "train"):
        token, point = trained_identity(trained, key)
        if point in last:
            return key
    raise AssertionError(token)


def trained_identity(workspace, key):
    from workbench.data.identity import identify

    keys = {name: workspace.key(name.removesuffix("_key")) for name in ("token_key", "placement_key")}
    found = identify([key], identity_type="pupil-number", **keys)
    return found.tokens[0], int(found.points[0])


def slices_trained(workspace, shard):
    with workspace.engine.connect() as connection:
        (constituent,) = (
            a for a in lineage.find(connection, dataset="pupils", kind="constituent") if int(a.body["shard"]) == shard
        )
    return [seconds > 0 for seconds in constituent.body["seconds"]]


def test_checkpoints_of_these_libraries_are_gone_on_from(trained, late):
    (shard,) = erase(trained, [late]).requests[0].shards
    assert slices_trained(trained, shard) == [False, False, True]


def test_checkpoints_of_other_libraries_are_not(trained, late, monkeypatch):
    monkeypatch.setattr(publish, "learnt_with", lambda: OTHER)
    monkeypatch.setattr(environment, "learnt_with", lambda: OTHER)
    done = erase(trained, [late]).requests[0]
    assert slices_trained(trained, done.shards[0]) == [True, True, True]
    assert verify(trained, Path(done.certificate), replay=True).valid


def test_trial_erasures_leave_what_other_libraries_trained_alone(trained, monkeypatch):
    monkeypatch.setattr(environment, "learnt_with", lambda: OTHER)
    with pytest.raises(InputError, match="trained by other libraries"):
        forgetting(trained, ensemble_of(trained))


def test_a_replay_that_fails_names_what_changed(trained, late, monkeypatch):
    certificate = Path(erase(trained, [late]).requests[0].certificate)
    monkeypatch.setattr(verify_module, "environment", lambda: environment.environment() | {"lightgbm": "5.0.0"})
    monkeypatch.setattr(verify_module, "train_shard", lambda *_, **__: iter([b"other", b"bytes", b"here"]))
    report = verify(trained, certificate, replay=True)
    assert not report.valid
    (check,) = (c for c in report.checks if not c.ok)
    assert check.name == f"replay {ensemble_of(trained)}"
    assert "lightgbm changed since it was signed" in check.detail
