"""Training shards and storing their checkpoints: what a first training and an erasure have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.config import TrainConfig
from workbench.data.objects import Objects
from workbench.data.store import Store
from workbench.jobs.detail import MOST_SHARDS, NEW, tell
from workbench.jobs.executor import Executor, local
from workbench.progress import Progress, silent
from workbench.sisa.ensemble import Constituent, Manifest
from workbench.sisa.train_task import Part, Start, train_part
from workbench.state.atomic_files import sha256
from workbench.state.roles import internal
from workbench.state.workspace import Workspace
from workbench.workflows.training.results import ShardProgress

# Bucket files of shards to be trained, from which on starting processes takes less time than it saves: some 500,000 rows.
_WORTH_PROCESSES = 8 * 2**20
# Bytes of memory that training takes per byte of bucket files, at most: columns are compressed there to about a tenth.
_MEMORY_FACTOR = 58


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A constituent that was just trained, with the seconds each of its slices took (0 for slices that were kept)."""

    constituent: Constituent
    first_slice: int
    seconds: tuple[float, ...]


@internal
def objects_of(workspace: Workspace, dataset: str) -> Objects:
    """The checkpoints of all ensembles of a data set."""
    return Objects(workspace.root / "objects" / dataset)


@internal
def train_shards(
    workspace: Workspace,
    store: Store,
    config: TrainConfig,
    firsts: Mapping[int, int],
    previous: Manifest | None = None,
    *,
    progress: Progress = silent,
) -> dict[int, Trained]:
    """Trains each shard from its first slice to redo, going on from the checkpoint before it; stores the checkpoints.

    A private learner's training was charged before (`charge.charge_shards`). Where it does not come to its end, the checkpoints
    it stored are removed.
    """
    stored: list[str] = []
    try:
        return _train_shards(workspace, store, config, firsts, previous, stored, progress)
    except BaseException:
        for digest in stored:
            objects_of(workspace, store.name).delete(digest)
        raise


def _train_shards(
    workspace: Workspace,
    store: Store,
    config: TrainConfig,
    firsts: Mapping[int, int],
    previous: Manifest | None,
    stored: list[str],
    progress: Progress,
) -> dict[int, Trained]:
    """Trains each shard; every checkpoint that was not there before is added to `stored`."""
    objects = objects_of(workspace, store.name)
    before = {c.shard: c for c in previous.constituents} if previous else {}
    grows = config.spec.grows
    # of before checkpoints lay in one file: where they end in it is known once the shard was trained from its start
    firsts = {shard: 0 if grows and first and not before[shard].sizes else first for shard, first in firsts.items()}
    starts = [
        Start(shard=shard, first=first, checkpoint=before[shard].after(first - 1, objects.get) if first else None)
        for shard, first in sorted(firsts.items())
    ]
    checkpoints = {shard: list(before[shard].checkpoints[:first]) if first else [] for shard, first in firsts.items()}
    sizes = {shard: list(before[shard].sizes[:first]) if first else [] for shard, first in firsts.items()}
    seconds = {shard: [0.0] * first for shard, first in firsts.items()}
    steps, done, said = sum(config.slices - first for first in firsts.values()), 0, ""

    def watch() -> None:
        progress(done / max(steps, 1), said)

    watch()
    keeps = (lambda number: number == config.slices - 1) if grows else config.keeps
    executor, parts = executor_of(store, config, starts), parts_of(store, config, starts)
    name = previous.ensemble if previous else NEW
    tell(name, lambda: progress_by_shard(config, parts, executor, firsts, seconds).to_json())
    for (shard, _, model), took in executor.run(train_part, parts, watch=watch):
        digest = None if model is None else sha256(model)
        if model is not None and digest is not None and keeps(len(checkpoints[shard])):
            if not objects.path(digest).exists():
                stored.append(digest)
            objects.put(model)
        checkpoints[shard].append(digest)
        sizes[shard].append(len(model or b""))
        seconds[shard].append(took)
        done, said = done + 1, f"shard {shard}"
        watch()
    return {
        shard: Trained(
            constituent=Constituent(
                shard=shard,
                generation=before[shard].generation + 1 if shard in before else 1,
                checkpoints=tuple(checkpoints[shard]),
                sizes=tuple(sizes[shard]) if grows else (),
            ),
            first_slice=first,
            seconds=tuple(seconds[shard]),
        )
        for shard, first in firsts.items()
    }


@internal
def progress_by_shard(
    config: TrainConfig,
    parts: Sequence[Part],
    executor: Executor,
    firsts: Mapping[int, int],
    seconds: Mapping[int, Sequence[float]],
) -> ShardProgress:
    """Of each shard how many of the slices that it is to learn it has learnt, and which shards are being trained.

    `seconds` has an entry for each slice that is done or was kept. Shards beyond `MOST_SHARDS` are in `total` alone.
    """
    left = [part for part in parts if any(len(seconds[start.shard]) < config.slices for start in part.starts)]
    at_work = {start.shard for part in left[: executor.at_once(len(left))] for start in part.starts}
    shown = sorted(firsts)[:MOST_SHARDS]
    done = sum(len(seconds[s]) - firsts[s] for s in firsts)
    return ShardProgress(
        shards=config.shards,
        slices={s: (len(seconds[s]) - firsts[s], config.slices - firsts[s]) for s in shown},
        total=(done, sum(config.slices - first for first in firsts.values())),
        at_work=tuple(s for s in shown if s in at_work),
    )


@internal
def executor_of(store: Store, config: TrainConfig, starts: Sequence[Start]) -> Executor:
    """Where to train so many shards: in this process, or in several."""
    return local(
        worthwhile=_bytes_of(store, config, starts) >= _WORTH_PROCESSES,
        bytes_each=_MEMORY_FACTOR * _bytes_of(store, config, starts[:1]),
    )


@internal
def parts_of(store: Store, config: TrainConfig, starts: Sequence[Start]) -> list[Part]:
    """What is trained in one call: shards that gain by being trained together, or one."""
    groups = [tuple(starts)] if config.spec.together else [(start,) for start in starts]
    return [Part(store=store, config=config, starts=group) for group in groups if group]


def _bytes_of(store: Store, config: TrainConfig, starts: Sequence[Start]) -> int:
    """About how many bytes of bucket files the shards have."""
    return store.bytes_of("train") * len(starts) // config.shards
