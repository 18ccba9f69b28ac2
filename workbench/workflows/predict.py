"""Where models that MLflow registered before the workflows had wings look for `predict_frame`: their script is a copy."""

from workbench.workflows.training.predict import predict_frame

__all__ = ["predict_frame"]
