"""A model that MLflow's own server has loaded obeys a quarantine that another process declares, without a restart."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from typing import Any

import pytest
from conftest import pupils
from served import mlflow_server

from workbench.erasure.request import quarantined_shards, submit
from workbench.sisa.ensemble import Manifest
from workbench.state.lineage import find
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking
from workbench.tracking.model_registry import move_models
from workbench.workflows.erasure.run_waiting import erase_waiting
from workbench.workflows.training.predict import predict_frame
from workbench.workflows.training.publish_version import current_versions, read_manifest

ROWS = pupils(3).drop(columns=["pupil", "passed"]).head(3)
_SUBMIT = (
    "import sys; from pathlib import Path; from workbench.state.workspace import Workspace\n"
    "from workbench.erasure.request import submit\n"
    "print(submit(Workspace.open(Path(sys.argv[1])), ['pupils'], sys.stdin.read()).status)"
)


def ask(url: str, rows: dict[str, Any]) -> tuple[int, Any]:
    body = json.dumps({"dataframe_split": rows}).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})) as answer:
            return answer.status, json.load(answer)["predictions"]
    except urllib.error.HTTPError as fault:
        return fault.code, fault.read().decode()


def manifest_of(workspace: Workspace) -> Manifest:
    with workspace.engine.connect() as connection:
        return read_manifest(workspace, next(iter(current_versions(connection).values())))


def without(workspace: Workspace, manifest: Manifest) -> frozenset[int]:
    with workspace.engine.connect() as connection:
        return quarantined_shards(connection, "pupils", manifest.partition)


@pytest.mark.slow
def test_a_served_model_obeys_a_quarantine_and_answers_with_the_next_version(trained: Workspace) -> None:
    with trained.engine.connect() as connection:
        name, registered = find(connection, kind="ensemble")[0].body["registered"]
    move_models(Tracking(trained.root), trained.root)  # the fixture is a copy
    asked = json.loads(ROWS.to_json(orient="split", index=False))

    def expected() -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = json.loads(predict_frame(trained.root, name, ROWS).to_json(orient="records"))
        return records

    def answers() -> list[float]:
        status, answer = ask(url, asked)
        assert status == 200, answer
        assert [row["prediction"] for row in answer] == [row["prediction"] for row in expected()]
        found = [row["probability_true"] for row in answer]
        assert found == pytest.approx([row["probability_true"] for row in expected()], abs=1e-9)
        return found

    manifest, keys = manifest_of(trained), (f"pupil-{n}" for n in range(1000, 1400))
    with mlflow_server(trained, f"models:/{name}/{registered}") as port:
        url = f"http://127.0.0.1:{port}/invocations"
        whole = answers()

        while not without(trained, manifest):  # a person of the holdout is in no shard
            done = subprocess.run(
                [sys.executable, "-c", _SUBMIT, str(trained.root)], input=next(keys), capture_output=True, text=True
            )
            assert done.stdout == "quarantined\n", done.stderr
        assert answers() != pytest.approx(whole, abs=1e-9), "a shard less, in the same server"

        while len(without(trained, manifest)) < len(manifest.constituents):
            submit(trained, ["pupils"], next(keys))
        status, told = ask(url, asked)
        assert status == 503
        assert "stack_trace" not in told
        assert json.loads(told)["message"] == (
            f"no constituent of {name} may answer: all are under quarantine; finish the open erasure requests"
        )

        assert erase_waiting(trained)
        assert manifest_of(trained).version == 2
        again = answers()
        assert again != pytest.approx(whole, abs=1e-9), "version 2, in a server that was started with version 1"

        canary = {**asked, "data": [["a canary", *row[1:]] for row in asked["data"]]}
        status, told = ask(url, canary)
        assert status == 400
        assert "column 'term'" in told
        assert "canary" not in told
        status, told = ask(url, {"columns": ["term"], "data": [[1]]})
        assert (status, "lacks the feature columns" in told) == (400, True)
    assert "canary" not in (trained.root.parent / "served.log").read_text()
