"""Fitting a generator and releasing a synthetic table: where it is private, charged first, then read."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection

from workbench.config import SynthesizeConfig
from workbench.data import catalog
from workbench.erasure.free_text import refuse_names
from workbench.erasure.request import refuse_open_request
from workbench.jobs.worker import as_job
from workbench.progress import Progress, silent
from workbench.roles import allowed, internal
from workbench.state import writing
from workbench.workflows.execute import settle
from workbench.workflows.fit_runs import end_runs
from workbench.workflows.release import discard_release, forget_fit, make_release, record_release, sweep_releases
from workbench.workspace import Workspace


@allowed("operate")
def synthesize(workspace: Workspace, config: SynthesizeConfig, *, progress: Progress = silent) -> dict[str, Any]:
    """Charges the ledger, fits the generator, writes a release and how good it is, as a job; BudgetError before reading.

    Release and generator are private with the stated epsilon, or say that they are not. The evaluation reads real rows, so it
    is internal. Raises BusyError where the generator is not private and a subject asked to be erased, also meanwhile; then
    nothing of it is left.
    """
    return dict(
        as_job(
            workspace.engine,
            "synthesize",
            config.model_dump(mode="json"),
            lambda tell: _synthesized(workspace, config, tell),
            progress,
        )
    )


def _synthesized(workspace: Workspace, config: SynthesizeConfig, progress: Progress) -> dict[str, Any]:
    started = time.perf_counter()
    refuse_words(workspace, config)
    settle(workspace, config.dataset)
    with workspace.engine.connect() as connection:
        catalog.entry(connection, config.dataset)
    with workspace.lock(config.dataset):
        sweep_releases(workspace, config.dataset, fits=False)  # what a killed synthesis left
        with workspace.engine.connect() as connection:
            store = catalog.store(connection, workspace, config.dataset)
            _refuse_unprotected(connection, config)
        release = make_release(workspace, store, config, progress=_abortable(workspace, config, progress))
        try:
            with writing(workspace.engine) as connection:
                _refuse_unprotected(connection, config)  # again: a request may have been accepted since
                record_release(connection, release.artifacts)
        except BaseException:
            discard_release(workspace, config, release.generator, release.runs)
            raise
        forget_fit(workspace, release.generator)
        end_runs(workspace, config.dataset)
    return {
        "generator": release.generator,
        "release": f"{release.generator}-release",
        "path": str(release.path),
        "rows": release.rows,
        "private": config.private,
        **({"epsilon": config.epsilon, "delta": config.delta} if config.private else {}),
        **release.figures.to_json(),
        "mlflow_run": release.runs[0],
        "seconds": round(time.perf_counter() - started, 3),
    }


@internal
def refuse_words(workspace: Workspace, config: SynthesizeConfig) -> None:
    """Raise NamingError where a config that the lineage and MLflow will keep names somebody who is in the data."""
    for text in config.settings.texts:
        refuse_names(workspace, text, "the config of the generator")


def _abortable(workspace: Workspace, config: SynthesizeConfig, progress: Progress) -> Progress:
    """Progress whose next report ends a run that can no longer be published."""

    def tell(fraction: float, text: str) -> None:
        with workspace.engine.connect() as connection:
            _refuse_unprotected(connection, config)
        progress(fraction, text)

    return tell


def _refuse_unprotected(connection: Connection, config: SynthesizeConfig) -> None:
    if not config.private:
        refuse_open_request(connection, config.dataset, "no generator that is not private is fitted or published")
