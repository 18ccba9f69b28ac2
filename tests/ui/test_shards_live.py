"""Maps of shards while a job is at them: what its row tells, and only of the shards that a request touches."""

from __future__ import annotations

import re
from typing import Any

from said import Open, texts
from sqlalchemy import text
from stored import placed
from streamlit.testing.v1 import AppTest

from workbench.config import TrainConfig
from workbench.erasure.request import submit
from workbench.jobs.detail import MOST_SHARDS, NEW
from workbench.jobs.executor import Local
from workbench.jobs.job import beat, claim, enqueue
from workbench.state import writing
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.decide import show_request
from workbench.workflows.training.train_shards import progress_by_shard


def under_way(workspace: Workspace, kind: str, detail: dict[str, Any]) -> None:
    with writing(workspace.engine) as connection:
        job = enqueue(connection, kind, {})
        claim(connection, job.id, "worker")
        beat(connection, job.id, "worker", progress=0.4, text="shard 1", detail=detail)


def maps(app: AppTest) -> list[str]:
    """What the maps of shards say to whoever does not see them."""
    drawn = "".join(str(one.proto.body) for one in app.get("html"))
    return re.findall(r'role="img" aria-label="([^"]*)"', drawn)


def test_a_training_shows_which_shards_are_at_work(browse: Open, trained: Workspace) -> None:
    slices = {"0": [3, 3], "1": [1, 3], "2": [0, 3], "3": [0, 3]}
    under_way(trained, "train", {NEW: {"shards": 4, "slices": slices, "total": [4, 12], "at_work": [1]}})
    app = browse(trained, "models")
    assert "4 of 12 slices are trained." in texts(app)
    assert maps(app) == ["4 shards: 2 not begun, 1 being trained, 1 trained"]


def test_of_very_many_shards_all_slices_are_counted(browse: Open, trained: Workspace) -> None:
    config = TrainConfig.model_validate({"learner": "naive_bayes", "dataset": "pupils", "shards": 1000, "slices": 1})
    seconds = {shard: [1.0] * (shard < 500) for shard in range(1000)}
    detail = progress_by_shard(config, [], Local(processes=1), dict.fromkeys(range(1000), 0), seconds)
    assert len(detail.slices) == MOST_SHARDS
    under_way(trained, "train", {NEW: detail.to_json()})
    assert "500 of 1000 slices are trained. The first 400 shards are drawn." in texts(browse(trained, "models"))


def test_only_the_shard_of_a_request_turns_amber_and_then_green(browse: Open, trained: Workspace) -> None:
    name = submit(trained, ["pupils"], placed(trained, "train")[0]).id
    (touched,) = show_request(trained, name).ensembles
    (shard,) = touched.waiting
    told = f"4 shards of {touched.ensemble}: 1 {{}}, 3 not touched"
    assert maps(browse(trained, "erasure", request=name)) == [told.format("waits to be trained again")]
    with writing(trained.engine) as connection:
        connection.execute(text("UPDATE requests SET status = 'executing'"))
    other = (shard + 1) % 4  # of somebody else's request, carried out with it
    slices = {str(shard): [1, 3], str(other): [3, 3]}
    under_way(trained, "erase", {touched.ensemble: {"shards": 4, "slices": slices, "at_work": [shard]}})
    assert maps(browse(trained, "erasure", request=name)) == [told.format("being trained again")]
    slices[str(shard)] = [3, 3]
    with trained.engine.connect() as connection:
        connection.execute(text("DELETE FROM jobs"))
    under_way(trained, "erase", {touched.ensemble: {"shards": 4, "slices": slices, "at_work": []}})
    assert maps(browse(trained, "erasure", request=name)) == [told.format("trained again without the person")]
