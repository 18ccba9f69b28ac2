"""A model that answers with labels alone is trained to the same bytes and tells no probability, by whatever way it is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
from conftest import Answer, pupils
from stored import ensemble_of, manifest_of, placed

from workbench.config import TrainConfig
from workbench.state.workspace import Workspace
from workbench.tracking import Tracking
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.verify import verify
from workbench.workflows.training.predict import predict_frame
from workbench.workflows.training.train import train

FRAME = pupils(5, first=9000).drop(columns=["pupil", "passed"])
SCRIPTS = Path(__file__).parents[1] / "golden" / "served_models"
PROBABILITIES = ["probability_false", "probability_true"]


def served(workspace: Workspace, ensemble: str) -> tuple[list[str], list[str]]:
    """The columns that the served model returns, and those that its signature says."""
    import mlflow.pyfunc

    with Tracking(workspace.root).session() as client:
        source = client.get_model_version_by_alias(ensemble, "champion").source
    model = mlflow.pyfunc.load_model(source)
    return list(model.predict(FRAME).columns), model.metadata.get_output_schema().input_names()


def test_a_model_of_labels_tells_no_probability_anywhere(
    trained: Workspace, command: Callable[..., Answer], tmp_path: Path
) -> None:
    full = manifest_of(trained)
    config = TrainConfig.model_validate({**full.config, "answers": "labels"})
    answer = train(trained, config)
    ensemble = answer.ensemble
    assert [c.digest for c in answer.constituents] == [c.digest for c in full.constituents], "the same bytes"

    told, more = predict_frame(trained.root, ensemble, FRAME), predict_frame(trained.root, full.ensemble, FRAME)
    assert list(told.columns) == ["prediction"]
    assert list(more.columns) == ["prediction", *PROBABILITIES]
    assert told["prediction"].equals(more["prediction"])
    FRAME.to_csv(tmp_path / "in.csv", index=False)
    files = ("--data", tmp_path / "in.csv", "--out", tmp_path / "out.parquet")
    assert command("--workspace", trained.root, "predict", ensemble, *files).code == 0
    assert pq.read_table(tmp_path / "out.parquet").column_names == ["prediction"]
    assert served(trained, ensemble) == (["prediction"], ["prediction"])
    assert served(trained, full.ensemble) == (["prediction", *PROBABILITIES],) * 2

    done = erase(trained, [placed(trained, "train")[0]]).requests[0]
    assert list(predict_frame(trained.root, ensemble, FRAME).columns) == ["prediction"], "the manifest keeps it"
    assert served(trained, ensemble) == (["prediction"], ["prediction"])
    assert verify(trained, Path(done.certificate), replay=True).valid


def test_an_ensemble_of_before_the_choice_tells_probabilities(trained: Workspace) -> None:
    manifest = manifest_of(trained)
    assert manifest.config["answers"] == "probabilities"
    old = {name: value for name, value in manifest.config.items() if name != "answers"}
    assert TrainConfig.model_validate(old) == TrainConfig.model_validate(manifest.config)
    assert list(predict_frame(trained.root, ensemble_of(trained), FRAME).columns) == ["prediction", *PROBABILITIES]


def test_a_model_registered_by_an_earlier_release_still_answers(trained: Workspace) -> None:
    """MLflow keeps a copy of the script that it was registered with; that copy imports the paths of its release."""
    import mlflow.pyfunc

    ensemble = manifest_of(trained).ensemble
    with Tracking(trained.root).session() as client:
        source = client.get_model_version_by_alias(ensemble, "champion").source
        folder = Path(mlflow.artifacts.download_artifacts(source))
    now = predict_frame(trained.root, ensemble, FRAME)
    for script in sorted(SCRIPTS.glob("*.py")):
        (folder / "served_model.py").write_bytes(script.read_bytes())
        assert mlflow.pyfunc.load_model(str(folder)).predict(FRAME).equals(now), script.name
