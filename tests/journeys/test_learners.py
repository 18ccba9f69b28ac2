"""Learners by the road that users take: trained, erased from, replayed; what is not deterministic is refused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import PUPILS_SCHEMA, pupils
from sklearn.tree import DecisionTreeClassifier
from stored import manifest_of, placed, store_of

from workbench.config import TrainConfig
from workbench.data.identity import identify
from workbench.errors import InputError
from workbench.sisa.ensemble import Manifest
from workbench.sisa.learners import sklearn_estimators
from workbench.sisa.learners.naive_bayes import NaiveBayes
from workbench.sisa.task import task_of
from workbench.state import lineage
from workbench.state.atomic_files import sha256
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.retire import retire
from workbench.workflows.erasure.verify import verify
from workbench.workflows.training.predict import predict_frame
from workbench.workflows.training.train import train
from workbench.workflows.training.train_shards import objects_of

FRAME = pupils(5, first=9000).drop(columns=["pupil", "passed"])


def config(learner: str, **settings: Any) -> TrainConfig:
    return TrainConfig.model_validate({"learner": learner, "dataset": "pupils", "shards": 2, "slices": 1, **settings})


def taught(workspace: Workspace, folder: Path, n: int, **changes: Any) -> Workspace:
    """A workspace that holds n pupils under a schema with changes."""
    (folder / "s.yaml").write_text(yaml.safe_dump(yaml.safe_load(PUPILS_SCHEMA) | changes, allow_unicode=True))
    pupils(n).dropna().to_parquet(folder / "t.parquet", index=False)
    ingest(workspace, "pupils", schema=folder / "s.yaml", data=folder / "t.parquet")
    return workspace


def without_person(workspace: Workspace, before: Manifest, key: str) -> dict[int, list[str | None]]:
    """The checkpoints of a naive Bayes ensemble after the person's rows are subtracted, shard by shard."""
    ids = identify(
        [key], identity_type="pupil-number", token_key=workspace.key("token"), placement_key=workspace.key("placement")
    )
    shard, first = (
        int(p[0]) for p in (before.partition.shard_of(ids.points), before.partition.slice_of(ids.slice_points))
    )
    records = store_of(workspace).read("train")
    mine = records.rows(records.points == ids.points[0])
    task, learner = task_of(records.schema), NaiveBayes(smoothing=1.0)
    found: dict[int, list[str | None]] = {c.shard: list(c.checkpoints) for c in before.constituents}
    for place in range(first, before.partition.n_slices):
        model = objects_of(workspace, "pupils").get(str(found[shard][place]))
        rest = learner.forget(model, mine.features, mine.target, task=task)
        found[shard][place] = None if rest is None else sha256(rest)
    return found


def test_an_erasure_from_naive_bayes_is_a_subtraction_and_the_pair_of_versions_is_never_there_together(
    workspace: Workspace, tmp_path: Path
) -> None:
    taught(workspace, tmp_path, 60)
    train(workspace, config("naive_bayes", slices=3, aggregation="majority"))
    before, answers = manifest_of(workspace), {}
    assert before.aggregation == "majority"
    key = placed(workspace, "train")[0]
    expected = without_person(workspace, before, key)
    told = predict_frame(workspace.root, before.ensemble, FRAME)
    assert set(told["probability_true"]) <= {0.0, 0.5, 1.0}, "shares of two votes"
    done = erase(workspace, [key]).requests[0]

    after = manifest_of(workspace)
    assert {c.shard: list(c.checkpoints) for c in after.constituents} == expected, "subtracted is retrained"
    assert after.aggregation == "majority"
    gone = before.objects() - after.objects()
    assert gone
    there = {sha256(path.read_bytes()) for path in workspace.root.rglob("*") if path.is_file()}
    assert not gone & there, "the version before lies nowhere any more"
    assert before.digest not in there
    with workspace.engine.connect() as connection:
        assert before.id not in {a.id for a in lineage.find(connection)}, "nor can it be asked for"
    answers = predict_frame(workspace.root, before.ensemble, FRAME)
    assert len(answers) == len(FRAME)
    assert verify(workspace, Path(done.certificate), replay=True).valid


def test_numbers_are_predicted_by_other_learners_too(workspace: Workspace, tmp_path: Path) -> None:
    columns = yaml.safe_load(PUPILS_SCHEMA)["columns"]
    columns["passed"].pop("role")
    columns["hours"] |= {"role": "target"}
    taught(workspace, tmp_path, 600, columns=columns)
    forest = config("sklearn", estimator="RandomForest", parameters={"n_estimators": 20})
    for asked in (config("ridge"), forest):
        result = train(workspace, asked)
        assert result.metrics["r2"].value > 0.3
        retire(workspace, result.ensemble)


class ByChance(DecisionTreeClassifier):
    """An estimator that heeds no seed."""

    def fit(self, *arguments: Any, **more: Any) -> ByChance:
        self.random_state = int.from_bytes(os.urandom(4), "big")
        return super().fit(*arguments, **more)


def test_an_estimator_that_is_not_deterministic_is_refused(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = sklearn_estimators.OFFERS["DecisionTree"]
    chance = replace(tree, classifier=ByChance, trusted=(*tree.trusted, f"{__name__}.ByChance"))
    monkeypatch.setitem(sklearn_estimators.OFFERS, "ByChance", chance)
    taught(workspace, tmp_path, 60)
    with pytest.raises(InputError, match="two models when it was trained twice"):
        train(workspace, config("sklearn", estimator="ByChance"))
    with workspace.engine.connect() as connection:
        assert not [a for a in lineage.find(connection) if a.kind in ("constituent", "ensemble")]
    assert not [path for path in (workspace.root / "objects").rglob("*") if path.is_file()]


IMPOSSIBLE = [
    (config("ridge"), "ridge is for regression targets, and this one is binary"),
    (config("sklearn", estimator="KNeighbors"), "no estimator 'KNeighbors'"),
    (config("sklearn", estimator="RandomForest", parameters={"n_jobs": 2}), "without the parameters"),
    (config("sklearn", estimator="RandomForest", parameters={"n_estimators": 0}), "n_estimators"),
    (config("sklearn", estimator="ElasticNet"), "ElasticNet is for regression"),
]


def test_what_a_learner_cannot_do_is_refused_before_anything_is_kept(workspace: Workspace, tmp_path: Path) -> None:
    taught(workspace, tmp_path, 30)
    for asked, said in IMPOSSIBLE:
        with pytest.raises(InputError, match=said):
            train(workspace, asked)
        assert not [path for path in (workspace.root / "objects").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"learner": "extra_trees", "slices": 2}, "write slices: 1"),
        ({"learner": "sklearn", "estimator": "RandomForest", "slices": 2}, "write slices: 1"),
        ({"learner": "sklearn"}, "needs the name of an estimator"),
        ({"learner": "sklearn", "estimator": "RandomForest", "parameters": {"max_depth": [3]}}, "parameters"),
        ({"learner": "ridge", "penalty": 0}, "penalty"),
        ({"learner": "naive_bayes", "smoothing": float("nan")}, "smoothing"),
        ({"learner": "naive_bayes", "penalty": 1}, "penalty is for logistic_regression, ridge"),
        ({"learner": "naive_bayes", "aggregation": "loudest"}, "aggregation"),
    ],
)
def test_a_config_that_no_learner_could_follow_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        config(**settings)


def test_numbers_have_no_majority(workspace: Workspace, tmp_path: Path) -> None:
    columns = yaml.safe_load(PUPILS_SCHEMA)["columns"]
    columns["passed"].pop("role")
    columns["hours"] |= {"role": "target"}
    taught(workspace, tmp_path, 30, columns=columns)
    with pytest.raises(InputError, match="numbers are averaged"):
        train(workspace, config("ridge", aggregation="majority"))


def test_settings_are_filled_in_so_that_a_manifest_says_all() -> None:
    assert config("extra_trees").settings == {"trees": 100, "min_rows_per_leaf": 5}
    assert config("extra_trees", rows=5000).settings == {"trees": 100, "min_rows_per_leaf": 2}
    assert config("sklearn", estimator="RandomForest").settings == {"estimator": "RandomForest", "parameters": {}}
    assert np.isclose(config("ridge", penalty=2).settings["penalty"], 2)
