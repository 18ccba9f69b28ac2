"""From a request or a file of records to a shard, its checkpoints, its constituent, the version made of it, and MLflow."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from said import Open, texts
from stored import placed

from workbench.cli.ui import ui
from workbench.data.partition import LINE
from workbench.erasure.request import submit
from workbench.errors import InputError, NotFoundError
from workbench.state.workspace import Workspace
from workbench.ui.parts import mlflow_link
from workbench.workflows.erasure.execute import carry_out_waiting
from workbench.workflows.operations.overview import overview
from workbench.workflows.operations.show_lineage import show_lineage
from workbench.workflows.operations.trace import (
    buckets_of,
    in_mlflow,
    trace_bucket,
    trace_ensemble,
    trace_request,
    trace_shard,
)


@pytest.fixture
def erased(trained: Workspace) -> tuple[Workspace, str]:
    """A workspace of which one person was erased, and the request."""
    name = submit(trained, ["pupils"], placed(trained, "train")[0]).id
    carry_out_waiting(trained)
    return trained, name


def test_from_a_request_to_the_bytes_that_changed(erased: tuple[Workspace, str]) -> None:
    workspace, request = erased
    (version,) = trace_request(workspace, request).versions
    (shard,) = version.shards
    assert (version.version, version.now) == (2, f"{version.ensemble}@2")
    told = trace_shard(workspace, version.now, shard)
    assert told.generation == 2
    assert [(one.version, one.requests) for one in told.trained] == [(1, ()), (2, (request,))]
    assert [point.stored for point in told.checkpoints] == [True] * 3
    constituent = show_lineage(workspace, told.constituent)
    assert constituent.digest == told.checkpoints[-1].digest
    shards = trace_ensemble(workspace, version.now).shards
    assert [one.generation for one in shards] == [2 if one.shard == shard else 1 for one in shards]


def test_buckets_and_shards_tell_of_each_other(trained: Workspace) -> None:
    (model,) = overview(trained).models
    for shard in range(4):
        told = trace_shard(trained, model.artifact, shard)
        assert told.stretch == (shard / 4, (shard + 1) / 4)
        assert all(shard / 4 <= low < high <= (shard + 1) / 4 for low, high in (b.stretch for b in told.buckets))
        for one in told.buckets:
            (fed,) = trace_bucket(trained, "pupils", one.bucket).shards
            assert fed.shard == shard
    fed = [b.bucket for s in range(4) for b in trace_shard(trained, model.artifact, s).buckets]
    assert fed == list(buckets_of(trained, "pupils"))
    assert trace_bucket(trained, "pupils", 63).stretch[1] == LINE / LINE


@pytest.mark.parametrize(
    "about",
    [
        {"shard": "99"},
        {"shard": "-1"},
        {"shard": "<b>"},
        {"shard": "9" * 5000},
        {"id": "nobody"},
        {"id": "pupils", "bucket": "9" * 60},
        {"id": "pupils", "bucket": "9" * 5000},
    ],
)
def test_what_is_not_there_is_told_in_words(browse: Open, trained: Workspace, about: dict[str, str]) -> None:
    (model,) = overview(trained).models
    app = browse(trained, "lineage", **({"id": model.artifact} | about))
    assert "What to do" in app.error[0].value
    assert "unexpected" not in app.error[0].value
    assert "<b>" not in texts(app)


def test_the_pages_of_the_way(browse: Open, erased: tuple[Workspace, str]) -> None:
    workspace, request = erased
    (version,) = trace_request(workspace, request).versions
    app = browse(workspace, "lineage", id=request)
    assert "Shards that were trained again" in texts(app)
    assert version.ensemble in texts(app)
    app = browse(workspace, "lineage", id=version.now, shard=str(version.shards[0]))
    assert "Its checkpoints" in texts(app)
    assert any(request in str(link.proto) for link in app.get("page_link"))
    app = browse(workspace, "lineage", id="pupils", bucket="5")
    assert "Shards that learn from it" in texts(app)
    assert version.ensemble in texts(app)
    assert not app.error


def test_links_lead_into_mlflow_where_somebody_runs_it(
    browse: Open, trained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (model,) = overview(trained).models
    found = in_mlflow(trained, model.artifact)
    assert found.experiment is not None
    assert found.run in texts(browse(trained, "lineage", id=model.artifact))
    monkeypatch.setenv(mlflow_link.URL, "https://mlflow.example.org/")
    links = {link.proto.url for link in browse(trained, "lineage", id=model.artifact).get("link_button")}
    assert links == {
        f"https://mlflow.example.org/#/experiments/{found.experiment}/runs/{found.run}",
        f"https://mlflow.example.org/#/models/{model.ensemble}/versions/1",
    }
    monkeypatch.setenv(mlflow_link.URL, "javascript:alert(1)")
    assert not browse(trained, "lineage", id=model.artifact).get("link_button")
    with pytest.raises(InputError, match="http"):
        ui(None, mlflow_url="javascript:alert(1)")  # type: ignore[arg-type]


@pytest.mark.parametrize(("state", "said"), [("away", "no tracking store"), ("locked", "locked by another process")])
def test_without_mlflow_the_rest_is_shown(browse: Open, trained: Workspace, state: str, said: str) -> None:
    (model,) = overview(trained).models
    database = trained.root / "mlflow.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        if state == "away":
            database.rename(trained.root.parent / "elsewhere.db")
        app = browse(trained, "lineage", id=model.artifact)
    (fault,) = app.error
    assert said in fault.value
    assert "Its shards" in texts(app)
    assert str(trained.root) not in texts(app)


def test_only_versions_have_shards(trained: Workspace) -> None:
    with pytest.raises(NotFoundError):
        trace_ensemble(trained, "pupils")
