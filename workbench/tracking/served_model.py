"""The script that MLflow stores as a registered model: it holds no weights and asks the workspace at every request.

MLflow copies this file into the model's folder and runs the copy; nothing in the workbench imports it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class ServedEnsemble(PythonModel):
    """Predicts with the ensemble's current version, whichever was registered; quarantine is checked each time."""

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002 (MLflow's signature)
    ) -> pd.DataFrame:
        """One row of predictions per row of `model_input`; there are no `params`."""
        from workbench.workflows.predict import predict_frame

        config = context.model_config
        return predict_frame(Path(config["workspace"]), config["ensemble"], model_input)


set_model(ServedEnsemble())
