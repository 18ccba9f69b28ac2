"""The script that MLflow stores as a registered model: it holds no weights and asks the workspace at every request.

MLflow copies this file into the model's folder and runs the copy; nothing in the workbench imports it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import ErrorCode
from mlflow.pyfunc.model import PythonModel, PythonModelContext

_CODES = {  # which MLflow's server turns into 400, 404 and 503
    "bad_input": "BAD_REQUEST",
    "not_found": "RESOURCE_DOES_NOT_EXIST",
    "quarantined": "TEMPORARILY_UNAVAILABLE",
    "busy": "TEMPORARILY_UNAVAILABLE",
}


class RefusedError(MlflowException):
    """Why there is no prediction; the server would quote the rows it was asked about before the message, so that is fixed."""

    def __init__(self, message: str, code: str) -> None:
        self._told = message
        super().__init__(message, error_code=ErrorCode.Value(code))

    @property
    def message(self) -> str:
        """What is told."""
        return self._told

    @message.setter
    def message(self, _: str) -> None:
        """Stays as it is."""


class ServedEnsemble(PythonModel):
    """Predicts with the ensemble's current version, whichever was registered; quarantine is checked each time."""

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002 (MLflow's signature)
    ) -> pd.DataFrame:
        """One row of predictions per row of `model_input`; there are no `params`. A fault tells nothing of the rows."""
        from workbench.errors import WorkbenchError, told_outside
        from workbench.workflows.training.predict import predict_frame

        config = context.model_config
        try:
            return predict_frame(Path(config["workspace"]), config["ensemble"], model_input)
        except WorkbenchError as fault:
            raise RefusedError(
                "; ".join(filter(None, told_outside(fault))), _CODES.get(fault.code, "INTERNAL_ERROR")
            ) from None
        except Exception as fault:  # its message could quote a row
            raise RefusedError(f"unexpected {type(fault).__name__}", "INTERNAL_ERROR") from None


set_model(ServedEnsemble())
