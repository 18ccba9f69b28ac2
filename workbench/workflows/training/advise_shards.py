"""How many shards and slices: accuracy and cost of an erasure, measured for each choice on a declared data set.

Nothing is written or published. The figures are computed from people's rows, so they are internal like any evaluation; a config
that was chosen by them says so (`informed_by`), unless the data set is public.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import yaml

from workbench.config import TrainConfig
from workbench.data import catalog
from workbench.data.dataset import Dataset
from workbench.data.store import Store
from workbench.erasure.request import refuse_open_request
from workbench.errors import InputError
from workbench.jobs.worker import as_job
from workbench.metrics.estimate import Estimate
from workbench.metrics.utility import predictive
from workbench.progress import Progress, silent
from workbench.reports.frontier import draw
from workbench.sisa.ensemble import aggregate
from workbench.sisa.task import task_of
from workbench.sisa.train_task import Part, Start, train_part
from workbench.sisa.training import learner_of
from workbench.state.atomic_files import check_output
from workbench.state.roles import allowed, internal, open_to_all
from workbench.state.workspace import Workspace
from workbench.workflows.exclusive import exclusive
from workbench.workflows.internal_results import findings, keep
from workbench.workflows.outputs import place_bytes
from workbench.workflows.training.results import AdviceResult, PartitionFigures, RecommendedPartition
from workbench.workflows.training.train_shards import executor_of, parts_of

SHARDS = (1, 2, 5, 10, 20, 50, 100)
SLICES = (1, 5)
# Subjects of a shard, at least, for its partition to be tried.
_LEAST_SUBJECTS = 50
_PRIMARY = ("auc", "accuracy", "r2")
_NOTHING = "nothing that read its rows is published"

Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One partition, what its ensemble achieves on the holdout, and the seconds of each slice [shards, slices].

    `training` are the seconds of all shards together: fewer than the sum, where they gain by being trained together.
    """

    shards: int
    slices: int
    metric: str
    achieved: Estimate
    seconds: Seconds
    training: float
    stored_bytes: int

    def cost(self, requests: int) -> float:
        """Expected seconds of retraining for so many requests at once, by subjects drawn uniformly (docs/adr/0019)."""
        return float((first_slice_odds(self.shards, self.slices, requests) * self._tails).sum())

    @property
    def _tails(self) -> Seconds:
        """Seconds of a slice and all after it [shards, slices]."""
        return np.cumsum(self.seconds[:, ::-1], axis=1)[:, ::-1]


@internal
def first_slice_odds(shards: int, slices: int, requests: int) -> Seconds:
    """The probability [slices] that slice r is the first one that so many requests touch in a given shard.

    None of them lies in the shard's slices before r with probability (1 - r / (S R))^K.
    """
    untouched = (1 - np.arange(slices + 1) / (shards * slices)) ** requests
    odds: Seconds = untouched[:-1] - untouched[1:]
    return odds


@allowed("operate")
def advise(
    workspace: Workspace,
    config: TrainConfig,
    *,
    requests_a_day: float = 1.0,
    most_lost: float = 0.01,
    public: bool = False,
    out: Path | None = None,
    plot: Path | None = None,
    progress: Progress = silent,
) -> AdviceResult:
    """Measures each partition on the config's data set and recommends the cheapest that loses at most `most_lost`.

    The loss is that of the metric against one shard of one slice; cost is seconds of retraining a day, with the day's
    requests carried out together. The recommended config is written to `out`, as YAML, and the choices are drawn to `plot`, as
    SVG. Raises InputError where there is no holdout or too few subjects, BusyError where a
    subject waits for an erasure, also one accepted meanwhile, or where another process writes the data set.
    """
    for path, endings in ((out, (".yaml", ".yml")), (plot, (".svg",))):
        if path is not None:
            check_output(path, endings)  # before minutes of measuring

    def work(report: Progress) -> AdviceResult:
        with exclusive(workspace, config.dataset):
            found = _advised(
                workspace,
                config,
                requests_a_day=requests_a_day,
                most_lost=most_lost,
                public=public,
                progress=report,
            )
            judge, shown = partial(refuse_open_request, dataset=config.dataset, refused=_NOTHING), found.to_json()
            if out is not None:
                place_bytes(workspace, out, yaml.safe_dump(shown["config"], sort_keys=False).encode(), judge)
            if plot is not None:
                place_bytes(workspace, plot, draw(shown["choices"], shown["recommended"], found.metric), judge)
            _refuse(workspace, config.dataset)
        return found

    return as_job(workspace.engine, "advise", config.model_dump(mode="json"), work, progress)


@internal
def advise_and_keep(workspace: Workspace, config: TrainConfig, *, progress: Progress = silent) -> str:
    """Does as `advise`, and keeps what it found, which the next erasure sweeps; returns its name.

    No erasure of the data set is carried out between the first row that is read and the moment it is kept.
    """
    with exclusive(workspace, config.dataset):
        found = _advised(workspace, config, requests_a_day=1.0, most_lost=0.01, public=False, progress=progress)
        return keep(workspace, "advice", config.dataset, config.learner, found.to_json())


@open_to_all
def kept_advice(workspace: Workspace) -> list[AdviceResult]:
    """Return the advice that is kept, newest first."""
    return [AdviceResult.from_json(one.content, made=one.made) for one in findings(workspace, "advice")]


def _advised(
    workspace: Workspace,
    config: TrainConfig,
    *,
    requests_a_day: float,
    most_lost: float,
    public: bool,
    progress: Progress,
) -> AdviceResult:
    if not (0 < requests_a_day < 1e6 and 0 <= most_lost < 1):
        raise InputError("requests a day must lie between 0 and a million, what may be lost between 0 and 1")
    if config.private:
        raise InputError(
            f"{config.learner} is differentially private: each partition that is tried would be charged",
            hint="advise on a public data set of the same kind, with learner: mlp",
        )
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, config.dataset)
    _refuse(workspace, config.dataset)
    holdout, subjects = store.read("holdout"), store.count_subjects("train")
    if not len(holdout) or subjects < _LEAST_SUBJECTS:
        raise InputError(f"data set {config.dataset} has no holdout or too few subjects to compare partitions on")
    tried = list(_partitions(config, subjects))
    choices = []
    for done, partition in enumerate(tried):
        report = partial(progress, done / len(tried), f"{partition.shards} shards of {partition.slices} slices")
        watch = partial(_watch, workspace, config.dataset, report)
        watch()
        choices.append(_measure(store, holdout, partition, watch))
    best = recommended(choices, requests_a_day=requests_a_day, most_lost=most_lost)
    informed = {} if public else {"informed_by": config.dataset}
    chosen = config.partitioned(best.shards, best.slices).model_copy(update=informed)
    return AdviceResult(
        dataset=config.dataset,
        learner=config.learner,
        metric=best.metric,
        requests_a_day=requests_a_day,
        most_lost=most_lost,
        choices=tuple(_figures(choice, choices[0], requests_a_day) for choice in choices),
        recommended=RecommendedPartition(shards=best.shards, slices=best.slices),
        config=chosen,
        note="measured on people's rows: internal, and the config is marked as informed by them"
        if informed
        else "measured on public rows",
    )


def _watch(workspace: Workspace, dataset: str, report: Callable[[], None]) -> None:
    """Reports progress; ends what may no longer be told."""
    _refuse(workspace, dataset)
    report()


def _refuse(workspace: Workspace, dataset: str) -> None:
    with workspace.engine.connect() as connection:
        refuse_open_request(connection, dataset, _NOTHING)


@internal
def recommended(choices: Sequence[Choice], *, requests_a_day: float, most_lost: float) -> Choice:
    """The cheapest choice that loses at most `most_lost` against the first one, which is one shard of one slice."""
    whole = choices[0].achieved.value
    good = [choice for choice in choices if whole - choice.achieved.value <= most_lost]
    return min(good, key=lambda choice: (daily_cost(choice, requests_a_day), choice.shards, choice.slices))


@internal
def daily_cost(choice: Choice, requests_a_day: float) -> float:
    """Seconds of retraining a day; where there is less than one request a day, that share of one's."""
    return choice.cost(max(1, round(requests_a_day))) * min(1.0, requests_a_day)


def _partitions(config: TrainConfig, subjects: int) -> Iterator[TrainConfig]:
    """The configs to compare, settings that follow from the declared rows of a shard included."""
    resumes = config.spec.resumes
    for shards in (s for s in SHARDS if s == 1 or subjects // s >= _LEAST_SUBJECTS):
        for slices in SLICES if resumes and shards > 1 else SLICES[:1]:
            yield config.partitioned(shards, slices)


def _measure(store: Store, holdout: Dataset, config: TrainConfig, watch: Callable[[], None]) -> Choice:
    """Trains and measures one partition; `watch` is called now and then, and raises to stop it."""
    starts = [Start(shard=shard, first=0, checkpoint=None) for shard in range(config.shards)]
    task, learner = task_of(store.schema), learner_of(config)
    models: dict[int, bytes | None] = {}
    seconds: dict[int, list[float]] = {shard: [] for shard in range(config.shards)}
    stored = 0
    steps = executor_of(store, config, starts).run(train_part, parts_of(store, config, starts), watch=watch)
    for (shard, _, model), took in steps:
        watch()
        stored += len(model or b"") - (len(models.get(shard) or b"") if config.spec.grows else 0)
        models[shard] = model
        seconds[shard].append(took)
    training = sum(map(sum, seconds.values()))
    if config.spec.together:  # an erasure mostly trains one shard, which by itself takes longer than its part of all
        alone = [took for _, took in train_part(Part(store=store, config=config, starts=(starts[0],)))]
        seconds = dict.fromkeys(seconds, alone)
    votes = [learner.predict(model, holdout.features, task=task) for model in models.values() if model is not None]
    metrics = predictive(task.kind, holdout.target, aggregate(votes, config.aggregation), holdout.points)
    metric = next(name for name in _PRIMARY if name in metrics)
    return Choice(
        shards=config.shards,
        slices=config.slices,
        metric=metric,
        achieved=metrics[metric],
        seconds=np.array([seconds[shard] for shard in range(config.shards)]),
        training=training,
        stored_bytes=stored,
    )


def _figures(choice: Choice, whole: Choice, requests_a_day: float) -> PartitionFigures:
    one = choice.cost(1)
    return PartitionFigures(
        shards=choice.shards,
        slices=choice.slices,
        metric=choice.metric,
        achieved=round(choice.achieved.value, 4),
        low=round(choice.achieved.low, 4),
        high=round(choice.achieved.high, 4),
        lost=round(whole.achieved.value - choice.achieved.value, 4),
        training_s=round(choice.training, 2),
        one_request_s=round(one, 3),
        cheaper=round(whole.cost(1) / one, 1) if one else None,
        a_day_s=round(daily_cost(choice, requests_a_day), 2),
        stored_mb=round(choice.stored_bytes / 2**20, 1),
    )
