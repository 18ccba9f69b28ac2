"""The only room that knows MLflow: a mirror of runs, lineage and versions where people look, and its real deletion.

The workspace database holds the truth. Importing this room doesn't import MLflow (1.5 s and more); its functions do.
"""

import os

# Read by MLflow when it is imported, so they are set here, before any function of this room can import it.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
# A pooled connection outlives its file: it would go on writing into a workspace that was deleted and made anew.
os.environ["MLFLOW_SQLALCHEMYSTORE_POOLCLASS"] = "NullPool"

os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")  # it announces each engine and warns of each unset option

from workbench.tracking.live_runs import LiveFigures
from workbench.tracking.logged_models import link_constituents, log_constituent
from workbench.tracking.mlflow_store import Tracking
from workbench.tracking.model_registry import CHAMPION, move_models, register_version
from workbench.tracking.purge import PurgeReport, purge_runs
from workbench.tracking.runs import (
    Kind,
    RunRecord,
    end_run,
    estimate_metrics,
    experiment_of,
    find_runs,
    log_run,
    log_text,
    open_runs,
    runs_of,
    start_run,
)
from workbench.tracking.upgrade import upgrade

__all__ = [
    "CHAMPION",
    "Kind",
    "LiveFigures",
    "PurgeReport",
    "RunRecord",
    "Tracking",
    "end_run",
    "estimate_metrics",
    "experiment_of",
    "find_runs",
    "link_constituents",
    "log_constituent",
    "log_run",
    "log_text",
    "move_models",
    "open_runs",
    "purge_runs",
    "register_version",
    "runs_of",
    "start_run",
    "upgrade",
]
