"""Auditing a generator on a data set by one fit with canaries: a scratch copy in memory, of which the result alone is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workbench.config import SynthesizeConfig
from workbench.data import catalog
from workbench.data.dataset import Dataset
from workbench.data.partition import Partition
from workbench.errors import InputError
from workbench.generators.generator import FittedGenerator, Generator
from workbench.generators.marginals.table import FittedTable
from workbench.generators.registry import check_size, generator_of
from workbench.jobs.worker import as_job
from workbench.metrics.attacks._tools.mixed_distance import placed
from workbench.metrics.canaries import Codes, Coins, Counted, count_scores, distance_scores, epsilon_bound, rare_rows
from workbench.metrics.estimate import Estimate
from workbench.privacy.ledger import Ledger
from workbench.progress import Progress, silent
from workbench.schema.codec import Codec, Values
from workbench.state.roles import allowed, internal
from workbench.state.workspace import Workspace
from workbench.workflows.evaluation.results import CanaryAudit, Claim
from workbench.workflows.exclusive import exclusive
from workbench.workflows.internal_results import keep

CANARIES = (20, 2_000)
_MOST_SAMPLED = 50_000
_NOTHING = "nothing that read its rows is told"


@allowed("operate")
def audit(
    workspace: Workspace,
    config: SynthesizeConfig,
    *,
    canaries: int,
    public: bool = False,
    progress: Progress = silent,
) -> CanaryAudit:
    """A lower bound of the epsilon of one fit, next to the claim; internal, as every evaluation that reads rows.

    The fit reads everybody's rows, so a private generator's is charged like any other and BudgetError raised before reading;
    not where the caller says that the data set is `public`. Store and releases stay as they are; the result is kept.
    """
    started = time.perf_counter()
    low, high = CANARIES
    if not low <= canaries <= high:
        raise InputError(f"asked for {canaries} canaries; an audit takes from {low} to {high:,}", hint="--canaries 500")
    done: list[CanaryAudit] = []

    def work(tell: Progress) -> Mapping[str, str]:
        done.append(_audited(workspace, config, canaries, public, started, tell))
        return {"dataset": config.dataset, "generator": config.generator}

    as_job(workspace.engine, "audit", {}, work, progress)
    return done[0]


def _audited(
    workspace: Workspace,
    config: SynthesizeConfig,
    canaries: int,
    public: bool,
    started: float,
    progress: Progress,
) -> CanaryAudit:
    generator, rng = generator_of(config), np.random.default_rng()
    with workspace.engine.connect() as connection:
        codec = Codec(catalog.entry(connection, config.dataset).schema)
    check_size(config, codec)  # before the charge
    planted = plant(codec, canaries, rng=rng)
    with exclusive(workspace, config.dataset, refused=_NOTHING):
        with workspace.engine.connect() as connection:
            store = catalog.store(connection, workspace, config.dataset)
        charged = config.private and not public
        if charged:
            purpose = f"audit {config.generator} with {canaries} canaries"
            Ledger(workspace.engine).charge(
                store.schema.population, generator.event, dataset=config.dataset, purpose=purpose
            )
        found = audit_fit(
            generator, store.read("train"), planted, delta=config.delta or 0.0, rng=rng, progress=progress
        )
        epsilon, delta = config.budget if config.private else (math.inf, 0.0)
        result = CanaryAudit(
            generator=config.generator,
            dataset=config.dataset,
            private=config.private,
            claim=Claim(epsilon=epsilon, delta=delta) if config.private else None,
            canaries=canaries,
            epsilon=found,
            refuted=found.low > epsilon,
            charged=charged,
            seconds=round(time.perf_counter() - started, 3),
        )
        keep(workspace, "audit", config.dataset, config.generator, result.to_json())
    return result


@dataclass(frozen=True, kw_only=True, eq=False)
class Planted:
    """Canaries: their cells of the free columns, their rows, their places on the hash line, and whether each is in."""

    codes: Codes
    values: Values
    points: npt.NDArray[np.uint64]
    coins: Coins


@internal
def plant(codec: Codec, n: int, *, rng: np.random.Generator) -> Planted:
    """`n` canaries of the public domain alone; raises InputError where it has not so many different rows."""
    codes = rare_rows(codec.free_sizes, 4 * n, rng=rng)
    for names, forbidden in codec.forbidden():  # no row can be there, and no fit would tell of one
        places = [codec.free_names.index(name) for name in names]
        codes = codes[~forbidden[tuple(codes[:, place] for place in places)]]
    codes = codes[rng.permutation(len(codes))[:n]]
    if len(codes) < n:
        raise InputError(
            f"the public domain has too few combinations for {n} different canaries", hint="ask for fewer canaries"
        )
    return Planted(
        codes=codes,
        values=codec.complete(codes, rng=rng),
        points=rng.integers(0, 2**64, n, dtype=np.uint64),
        coins=rng.random(n) < 0.5,
    )


@internal
def audit_fit(
    generator: Generator,
    dataset: Dataset,
    planted: Planted,
    *,
    delta: float,
    rng: np.random.Generator,
    progress: Progress = silent,
) -> Estimate:
    """Fits the records with those canaries that are in, then guesses who is; see `epsilon_bound`."""
    fitted = generator.fit(_with(dataset, planted), progress=lambda fraction, text, **_: progress(0.9 * fraction, text))
    progress(0.9, "guessing coins")
    if isinstance(fitted, FittedTable):
        marginals = _counted(fitted, dataset, planted)
        scores = count_scores(marginals, rows_each=dataset.schema.max_rows_per_subject)
    else:
        scores = _distances(fitted, dataset.codec, planted, rng)
    return epsilon_bound(scores, planted.coins, delta=delta)


def _with(dataset: Dataset, planted: Planted) -> Dataset:
    """The records together with those of the canaries that are in, each with as many equal rows as a subject may have."""
    k, coins = dataset.schema.max_rows_per_subject, planted.coins
    points = np.repeat(planted.points[coins], k)
    return dataset.joined(np.repeat(planted.values[coins], k, axis=0), points, points)


def _counted(fitted: FittedTable, dataset: Dataset, planted: Planted) -> list[Counted]:
    """Each marginal that was measured, shard by shard, with the canaries' cells; all the auditor does not know is noise."""
    shards = len(fitted.notes[0]["values"])
    partition = Partition(n_shards=shards, n_slices=1)
    place, home = partition.shard_of(dataset.points), partition.shard_of(planted.points)
    full, small, groups = fitted.fitted.domain, fitted.fitted.model.domain, fitted.fitted.groups
    codes = dataset.codec.bin_free(dataset.values)
    tables = {
        True: (full, codes, planted.codes),
        False: (small, _merged(codes, groups), _merged(planted.codes, groups)),
    }
    counted = []
    for note in fitted.notes:
        domain, rows, canaries = tables[len(note["clique"]) == 1]
        without = np.stack([domain.count(rows[place == shard], note["clique"]) for shard in range(shards)])
        columns = [canaries[:, domain.position[name]] for name in note["clique"]]
        cells = np.ravel_multi_index((home, *columns), without.shape)
        values = np.asarray(note["values"], dtype=np.float64)
        counted.append(
            Counted(
                values=values.ravel(),
                without=without.ravel().astype(np.float64),
                cells=cells,
                sigma=float(note["sigma"]),
            )
        )
    return counted


def _merged(codes: Codes, groups: tuple[Codes, ...]) -> Codes:
    return np.stack([group[column] for group, column in zip(groups, codes.T, strict=True)], axis=1)


def _distances(fitted: FittedGenerator, codec: Codec, planted: Planted, rng: np.random.Generator) -> Values:
    """How near the synthetic rows come to each canary: columns in units of their range, a different category counts as 1."""
    synthetic = fitted.sample(min(_MOST_SAMPLED, max(1, round(fitted.total))), rng=rng)
    return distance_scores(placed(planted.values, codec).points, placed(synthetic, codec).points)
