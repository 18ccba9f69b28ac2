"""Links into MLflow's own pages, where somebody runs them; else the run and the command that starts them."""

from __future__ import annotations

import os
from urllib.parse import quote

import streamlit as st

from workbench.ui.parts import session
from workbench.workflows.operations.trace import in_mlflow

URL = "WORKBENCH_MLFLOW_URL"


def base() -> str | None:
    """Where an `mlflow ui` answers, as `workbench ui --mlflow-url` was told; anything but http and https is nowhere."""
    url = os.environ.get(URL, "").rstrip("/")
    return url if url.startswith(("http://", "https://")) else None


def show_in_mlflow(artifact: str) -> None:
    """Links to an artifact's run and registered model."""
    found = in_mlflow(session.workspace(), artifact)
    run, experiment, registered = found.run, found.experiment, found.registered
    if not run:
        return
    url = base()
    if url is None:
        st.caption(
            "In MLflow, which the command mlflow ui shows (workbench ui --mlflow-url links there), it is this run:"
        )
        st.code(run, language=None)
        return
    with st.container(horizontal=True):
        if experiment is not None:
            st.link_button("Its run in MLflow", run_url(url, experiment, run), icon=":material/open_in_new:")
        if registered:
            st.link_button("Its model in MLflow", model_url(url, *registered), icon=":material/open_in_new:")


def run_url(base_url: str, experiment: str, run: str) -> str:
    """The page of a run."""
    return f"{base_url}/#/experiments/{quote(experiment, safe='')}/runs/{quote(run, safe='')}"


def model_url(base_url: str, name: str, version: str | int) -> str:
    """The page of a registered model's version."""
    return f"{base_url}/#/models/{quote(name, safe='')}/versions/{quote(str(version), safe='')}"
