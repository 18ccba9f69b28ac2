"""Long work as jobs: done here and now, or by a detached process that outlives this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.config import SynthesizeConfig, TrainConfig, parse_config
from workbench.errors import InputError
from workbench.jobs.detached import detach
from workbench.jobs.job import OVER, Job, cancel, enqueue, find, get
from workbench.jobs.worker import JobResult, Work, json_of, work_on
from workbench.progress import Progress, silent
from workbench.reports.verdict import VerdictRules
from workbench.state import journal, writing
from workbench.state.atomic_files import remove
from workbench.state.roles import allowed, open_to_all
from workbench.state.workspace import Workspace
from workbench.workflows.erasure.results import DetachedJob
from workbench.workflows.operations.results import JobDetails, Jobs, KeptEvaluation

if TYPE_CHECKING:
    from workbench.workflows.datasets.results import IngestResult


@allowed("operate")
def run_job(workspace: Workspace, kind: str, config: Mapping[str, Any], progress: Progress = silent) -> JobResult:
    """Does a piece of long work in this process, as a job that others can watch and cancel."""
    return take_job(workspace, _enqueue(workspace, kind, config).id, progress)


@allowed("operate")
def detach_job(workspace: Workspace, kind: str, config: Mapping[str, Any]) -> DetachedJob:
    """Hands a piece of long work to a process of its own, which goes on when this one ends."""
    job = _enqueue(workspace, kind, config)
    detach(workspace.root, job)
    return DetachedJob.of(job)


@allowed("operate")
def take_job(workspace: Workspace, job_id: str, progress: Progress = silent) -> JobResult:
    """Works on a job that waits or whose worker died, in the name of whoever asked for it."""
    with workspace.engine.connect() as connection:
        job = get(connection, job_id)

    def work(tell: Progress) -> JobResult:
        """Made once the job is ours: of one that is over there is no config left."""
        if job.kind != "erase":  # an erasure's job finishes by itself what was interrupted
            from workbench.workflows.erasure.execute import recover_interrupted  # start-up

            recover_interrupted(workspace)
        return _work(workspace, job.kind, job.config)(tell)

    with journal.acting(job.actor):  # whoever asked for it, whatever process does it
        done = work_on(workspace.engine, job.id, work, progress)
        if job.kind == "erase":
            from workbench.workflows.synthesis.measure_again import measure_again  # start-up

            measure_again(workspace, [one["request"] for one in json_of(done)["requests"]])
        return done


@allowed("operate")
def cancel_job(workspace: Workspace, job_id: str) -> JobDetails:
    """Asks a job to stop."""
    with writing(workspace.engine) as connection:
        before = get(connection, job_id)
        after = cancel(connection, job_id)
    if after.status in OVER:  # nobody was at it, so nobody else takes its upload away
        _forget_upload(before.config)
    return JobDetails.of(after)


@open_to_all
def list_jobs(workspace: Workspace) -> Jobs:
    """All jobs, oldest first."""
    with workspace.engine.connect() as connection:
        return Jobs(jobs=tuple(map(JobDetails.of, find(connection))))


def _enqueue(workspace: Workspace, kind: str, config: Mapping[str, Any]) -> Job:
    _work(workspace, kind, config)  # a config that can't be read is refused before there is a row
    with writing(workspace.engine) as connection:
        return enqueue(connection, kind, config)


def _work(workspace: Workspace, kind: str, config: Mapping[str, Any]) -> Work:
    makers: dict[str, Callable[[Workspace, Mapping[str, Any]], Work]] = {
        "advise": _advise,
        "demo": _demo,
        "erase": _erase,
        "evaluate": _evaluate,
        "ingest": _ingest,
        "measure": _measure,
        "synthesize": _synthesize,
        "train": _train,
    }
    if kind not in makers:
        raise InputError(f"no job is of kind {kind!r}", hint=f"kinds: {', '.join(makers)}")
    return makers[kind](workspace, config)


def _advise(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    """Advice on shards, kept as what it is: an evaluation, which the next erasure sweeps."""
    from workbench.workflows.training.advise_shards import advise_and_keep

    parsed = parse_config(dict(config), TrainConfig, source="the job")

    def work(progress: Progress) -> KeptEvaluation:
        kept = advise_and_keep(workspace, parsed, progress=progress)
        return KeptEvaluation(dataset=parsed.dataset, evaluation=kept)

    return work


def _erase(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    from workbench.workflows.erasure.run_waiting import work_of  # start-up: so is each of these imports

    return work_of(workspace, patient=config["patient"])


def _ingest(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    from workbench.workflows.datasets.ingest import append, ingest
    from workbench.workflows.datasets.same_people import check_reason

    name, data, reason = config["name"], config["data"] and Path(config["data"]), config.get("same_people")
    check_reason(workspace, reason)  # before it stands in the job's row
    if config.get("append"):
        return lambda progress: append(workspace, name, data=data, same_people=reason, progress=progress)
    schema = config["schema"] and Path(config["schema"])

    def work(progress: Progress) -> IngestResult:
        try:
            return ingest(workspace, name, schema=schema, data=data, same_people=reason, progress=progress)
        finally:
            _forget_upload(config)

    return work


def _demo(workspace: Workspace, config: Mapping[str, Any]) -> Work:  # noqa: ARG001 (there is nothing to choose)
    from workbench.workflows.operations.demo import fill_with_demo

    return lambda progress: fill_with_demo(workspace, progress)


def _evaluate(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    from workbench.workflows.evaluation.evaluate import evaluate
    from workbench.workflows.evaluation.subject import ROWS, Settings

    name, dataset, given = str(config["name"]), config.get("dataset"), config.get("rules")
    settings = Settings(
        rows=int(config.get("rows") or ROWS), seed=int(config.get("seed") or 0), shadow=bool(config.get("shadow"))
    )
    rules = None if given is None else VerdictRules.model_validate(given)

    def work(progress: Progress) -> KeptEvaluation:
        found = evaluate(workspace, name, dataset=dataset, settings=settings, rules=rules, progress=progress)
        return KeptEvaluation(dataset=found.dataset, evaluation=found.id)

    return work


def _measure(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    """The quality figures of a release, measured again after an erasure purged them."""
    from workbench.workflows.synthesis.measure_release import measure_release

    name = str(config["name"])
    return lambda progress: measure_release(workspace, name, progress)


def _forget_upload(config: Mapping[str, Any]) -> None:
    """Removes a table that was uploaded for a job: nobody else has this copy."""
    if config.get("uploaded"):
        remove(Path(config["data"]).parent)


def _synthesize(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    from workbench.workflows.synthesis.synthesize import refuse_words, synthesize

    parsed = parse_config(dict(config), SynthesizeConfig, source="the job")
    refuse_words(workspace, parsed)  # before there is a row
    return lambda progress: synthesize(workspace, parsed, progress=progress)


def _train(workspace: Workspace, config: Mapping[str, Any]) -> Work:
    from workbench.workflows.training.train import refuse_words, train

    parsed = parse_config(dict(config), TrainConfig, source="the job")
    refuse_words(workspace, parsed)  # before there is a row
    return lambda progress: train(workspace, parsed, progress=progress)
