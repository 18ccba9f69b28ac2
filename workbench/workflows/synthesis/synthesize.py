"""Fitting a generator and releasing a synthetic table: where it is private, charged first, then read."""

from __future__ import annotations

import time

from workbench.config import SynthesizeConfig
from workbench.data import catalog
from workbench.erasure.free_text import refuse_names
from workbench.jobs.worker import as_job
from workbench.progress import Progress, silent
from workbench.state.roles import allowed, internal
from workbench.state.workspace import Workspace
from workbench.workflows.exclusive import Exclusive, exclusive
from workbench.workflows.synthesis.fit_release import (
    discard_release,
    forget_fit,
    make_release,
    record_release,
    sweep_releases,
)
from workbench.workflows.synthesis.fit_runs import end_runs
from workbench.workflows.synthesis.results import SynthesizeResult

_UNPROTECTED = "no generator that is not private is fitted or published"


@allowed("operate")
def synthesize(workspace: Workspace, config: SynthesizeConfig, *, progress: Progress = silent) -> SynthesizeResult:
    """Charges the ledger, fits the generator, writes a release and how good it is, as a job; BudgetError before reading.

    Release and generator are private with the stated epsilon, or say that they are not. The evaluation reads real rows, so it
    is internal. Raises BusyError where the generator is not private and a subject asked to be erased, also meanwhile; then
    nothing of it is left.
    """
    return as_job(
        workspace.engine,
        "synthesize",
        config.model_dump(mode="json"),
        lambda tell: _synthesized(workspace, config, tell),
        progress,
    )


def _synthesized(workspace: Workspace, config: SynthesizeConfig, progress: Progress) -> SynthesizeResult:
    started = time.perf_counter()
    refuse_words(workspace, config)
    with workspace.engine.connect() as connection:
        catalog.entry(connection, config.dataset)
    refused = None if config.private else _UNPROTECTED
    with exclusive(workspace, config.dataset, refused=refused) as held:
        sweep_releases(workspace, config.dataset, fits=False)  # what a killed synthesis left
        with workspace.engine.connect() as connection:
            store = catalog.store(connection, workspace, config.dataset)
        release = make_release(workspace, store, config, progress=_abortable(held, progress))
        held.on_failure(lambda: discard_release(workspace, config, release.generator, release.runs))
        with held.publishing() as connection:
            record_release(connection, release.artifacts)
        forget_fit(workspace, release.generator)
        end_runs(workspace, config.dataset)
    return SynthesizeResult(
        generator=release.generator,
        release=f"{release.generator}-release",
        path=release.path,
        rows=release.rows,
        private=config.private,
        epsilon=config.epsilon if config.private else None,
        delta=config.delta if config.private else None,
        metrics=release.figures.metrics,
        not_measured=release.figures.not_measured,
        mlflow_run=release.runs[0],
        seconds=round(time.perf_counter() - started, 3),
    )


@internal
def refuse_words(workspace: Workspace, config: SynthesizeConfig) -> None:
    """Raise NamingError where a config that the lineage and MLflow will keep names somebody who is in the data."""
    for text in config.settings.texts:
        refuse_names(workspace, text, "the config of the generator")


def _abortable(held: Exclusive, progress: Progress) -> Progress:
    """Progress whose next report ends a run that can no longer be published."""

    def tell(fraction: float, text: str) -> None:
        with held.workspace.engine.connect() as connection:
            held.judge(connection)
        progress(fraction, text)

    return tell
