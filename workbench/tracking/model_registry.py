"""Ensemble versions in MLflow's model registry, served by reference."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.schema import Schema
from workbench.state.atomic_files import write_atomic
from workbench.tracking.mlflow_store import Tracking
from workbench.tracking.runs import experiment_id

CHAMPION = "champion"

_DESCRIPTION = (
    "SISA ensemble of data set {dataset}. It holds no weights: whichever version is served asks the workspace at every "
    "request, so a quarantine holds at once and an erasure without a restart. Superseded versions are purged."
)
_SCRIPT = Path(__file__).with_name("served_model.py")
_REQUIREMENTS = ["erasure-workbench"]  # given, because MLflow would otherwise load the model to guess them (10 s)


def register_version(
    tracking: Tracking,
    *,
    experiment: str,
    run_id: str,
    name: str,
    workspace: Path,
    ensemble: str,
    version: int,
    tags: Mapping[str, str],
    schema: Schema | None = None,
    answers: Sequence[str] = (),
) -> str:
    """Registers an ensemble version and moves the alias `champion` to it; returns MLflow's own version number.

    - No weights are copied: the model is a script that asks the workspace at every request, so that a quarantine or
      an erasure holds for models which a server has already loaded.
    - No input example is stored; the signature, if a schema is given, is the names of its features and of the columns
      that it `answers` with.
    """
    with tracking.session() as client:
        model = client.create_logged_model(
            experiment_id(tracking, client, experiment),
            name=name,
            source_run_id=run_id,
            tags={"ensemble": ensemble, "ensemble_version": str(version)},
            model_type="ensemble",
        )
        config = {"workspace": str(workspace.absolute()), "ensemble": ensemble}
        _write_model(model, run_id, config, _signature(schema, answers) if schema else None)
        client.finalize_logged_model(model.model_id, "READY")
        _require_registered_model(client, name, experiment)
        # The source is the folder: MLflow would look `models:/<id>` up in the process-wide store, not in this one.
        registered = client.create_model_version(
            name,
            source=model.artifact_location,
            run_id=run_id,
            tags={"ensemble": ensemble, "ensemble_version": str(version), **tags},
            model_id=model.model_id,
        )
        client.set_registered_model_alias(name, CHAMPION, registered.version)
        return str(registered.version)


def move_models(tracking: Tracking, to: Path) -> None:
    """Makes registered models ask the workspace at `to`, where this one is about to be moved, and not where it came from."""
    import yaml

    for path in tracking.artifacts.glob("*/models/*/artifacts/MLmodel"):
        model = yaml.safe_load(path.read_text(encoding="utf-8"))
        config = model["flavors"]["python_function"].get("config", {})
        if "workspace" in config:
            config["workspace"] = str(to)
            write_atomic(path, yaml.safe_dump(model, sort_keys=True).encode())
    with tracking.connection(timeout=30) as connection:
        places = connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
    for (found,) in places:
        if found.rpartition("/")[0].endswith(f"/{tracking.artifacts.name}"):  # MLflow's own default lies nowhere
            tracking.relocate(found, to)


def _write_model(model: Any, run_id: str, config: dict[str, str], signature: Any) -> None:
    from mlflow.models import Model
    from mlflow.pyfunc import save_model
    from mlflow.utils.file_utils import local_file_uri_to_path

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example was not provided")  # on purpose: it would be a row
        save_model(
            local_file_uri_to_path(model.artifact_location),  # type: ignore[no-untyped-call]
            python_model=str(_SCRIPT),
            model_config=config,
            signature=signature,
            pip_requirements=_REQUIREMENTS,
            mlflow_model=Model(run_id=run_id, model_id=model.model_id),
        )


def _signature(schema: Schema, answers: Sequence[str]) -> Any:
    """The columns by name, of any type: the workspace's codec judges values, and says what is wrong with them."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec
    from mlflow.types import Schema as Columns
    from mlflow.types.schema import AnyType

    anything: Any = AnyType()  # type: ignore[no-untyped-call]
    features = [name for name in schema.encoded if name != schema.target]

    def columns(names: Sequence[str]) -> Columns:
        return Columns([ColSpec(anything, name, required=False) for name in names])

    return ModelSignature(inputs=columns(features), outputs=columns(answers) if answers else None)


def _require_registered_model(client: Any, name: str, dataset: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=_DESCRIPTION.format(dataset=dataset))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
