"""Networks that were trained in one pass are erased from one by one, to the same bits."""

from pathlib import Path

from conftest import PUPILS_SCHEMA, pupils

from workbench.config import TrainConfig
from workbench.data import catalog
from workbench.sisa.shard import shard_of
from workbench.sisa.task import task_of
from workbench.sisa.training import learner_of
from workbench.state.atomic_files import sha256
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.verify import verify
from workbench.workflows.training.publish_version import current_versions, read_manifest
from workbench.workflows.training.train import train


def test_an_erasure_retrains_alone_what_was_trained_together_and_replays(workspace, tmp_path):
    """Through the doors: all shards in one pass, one of them again by itself, then the certificate's replay from nothing."""
    (tmp_path / "s.yaml").write_text(PUPILS_SCHEMA, encoding="utf-8")
    pupils(120).to_parquet(tmp_path / "t.parquet", index=False)
    ingest(workspace, "pupils", schema=tmp_path / "s.yaml", data=tmp_path / "t.parquet")
    config = {"learner": "mlp", "dataset": "pupils", "shards": 5, "slices": 3, "hidden": [8], "batch": 32, "epochs": 4}
    report = train(workspace, TrainConfig.model_validate(config))
    results = erase(workspace, ["pupil-1001", "pupil-1002", "pupil-1003"]).requests
    assert {result.status for result in results} == {"completed"}
    with workspace.engine.connect() as connection:
        manifest = read_manifest(workspace, current_versions(connection)[report.ensemble])
        store = catalog.store(connection, workspace, "pupils")
    assert manifest.version == 2
    shards = [
        shard_of(store.read("train", manifest.partition.interval(c.shard)), manifest.partition, number=c.shard, seed=0)
        for c in manifest.constituents
    ]
    learner, task = learner_of(TrainConfig.model_validate(config)), task_of(store.schema)
    models = {(s, r): None if m is None else sha256(m) for s, r, m in learner.train(shards, task=task)}
    assert models == {(c.shard, r): d for c in manifest.constituents for r, d in enumerate(c.checkpoints)}
    assert verify(workspace, Path(results[0].certificate), replay=True).valid
