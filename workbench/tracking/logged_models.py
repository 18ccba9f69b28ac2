"""Constituents as MLflow's logged models, and ensembles as runs that take them as inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from workbench.tracking.mlflow_store import Tracking
from workbench.tracking.runs import experiment_id


def log_constituent(
    tracking: Tracking, *, experiment: str, run_id: str, name: str, digest: str, tags: Mapping[str, str]
) -> str:
    """Logs a shard's model as an output of the run that trained it; returns the model id.

    - Only metadata is written: the weights stay in the workspace, under their digest.
    - It is purged with its run.
    """
    from mlflow.entities import LoggedModelOutput

    with tracking.session() as client:
        model = client.create_logged_model(
            experiment_id(tracking, client, experiment),
            name=name,
            source_run_id=run_id,
            tags={"digest": digest, **tags},
            model_type="constituent",
        )
        client.finalize_logged_model(model.model_id, "READY")
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        return str(model.model_id)


def link_constituents(tracking: Tracking, *, run_id: str, model_ids: Collection[str]) -> None:
    """Shows constituents as the inputs of an ensemble version's run."""
    from mlflow.entities import LoggedModelInput

    with tracking.session() as client:
        client.log_inputs(run_id, models=[LoggedModelInput(model_id) for model_id in model_ids])
