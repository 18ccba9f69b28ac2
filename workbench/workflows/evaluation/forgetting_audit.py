"""Auditing what an ensemble forgets: trial erasures in memory, attacked before and after; nothing of them is kept.

Two groups of subjects. Living ones, drawn from the training records: each one's shard is trained on without them, from the
last checkpoint that never saw them. Canaries, artificial ones: each is put among a shard's records, learnt, and erased in the
same way. Some of each group are also erased by training their shard from scratch, which must give the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from workbench.config import TrainConfig, stored_config
from workbench.data import catalog
from workbench.data.dataset import Dataset
from workbench.erasure.environment import learnt_elsewhere
from workbench.erasure.plan import pending_of
from workbench.erasure.request import refuse_open_request
from workbench.errors import InputError, NotFoundError
from workbench.metrics.forgetting import (
    BASELINE,
    FALSE_ALARMS,
    FEWEST_SIBLINGS,
    Scores,
    fewest_for,
    find,
    membership,
    together,
)
from workbench.progress import Progress, silent
from workbench.sisa.ensemble import Manifest
from workbench.state import lineage
from workbench.state.lineage import Artifact
from workbench.state.roles import allowed, internal
from workbench.state.workspace import Workspace
from workbench.workflows.evaluation.canary_audit import plant
from workbench.workflows.evaluation.results import Forgetting, MembershipRow
from workbench.workflows.evaluation.trial_erasures import (
    AFTER,
    BEFORE,
    SCRATCH,
    Audited,
    Subject,
    Trial,
    references,
    trials,
)
from workbench.workflows.exclusive import exclusive
from workbench.workflows.training.publish_version import current_versions, read_manifest
from workbench.workflows.training.train_shards import objects_of

SUBJECTS = (20, 10_000)
CANARIES = (20, 2_000)
_MOST_SIBLINGS = 64  # more would tell hardly more, and each one predicts for everybody
_MOST_POPULATION = 1_000
_NOTHING = "nothing that read its rows is told"
_NOTE = "internal, for it was computed from personal rows; it is stored nowhere"
_GROUPS = {True: "living subjects", False: "canaries"}


@allowed("operate")
def forgetting(
    workspace: Workspace,
    ensemble: str,
    *,
    subjects: int = 100,
    canaries: int = 50,
    controls: int = 20,
    seed: int = 0,
    progress: Progress = silent,
) -> Forgetting:
    """How well erased subjects are told from those a constituent never saw; internal, as every evaluation that reads rows.

    Guarantees:
      - nothing is written: no file of the workspace, no journal entry and no run changes.
      - constituents are retrained by the product's own training, from the published checkpoints.
      - equal seeds try the same subjects and canaries; nobody is drawn by a score.
      - BusyError, and nothing is told, once a subject of the data set has an open erasure request.
    """
    started = time.perf_counter()
    _refuse_senseless(subjects, canaries, controls)
    dataset = _current(workspace, ensemble)[1].dataset
    with exclusive(workspace, dataset):
        asked = {"subjects": subjects, "canaries": canaries, "controls": controls}
        found = try_erasures(workspace, ensemble, **asked, rng=np.random.default_rng(seed), progress=progress)
    return replace(found, seconds=round(time.perf_counter() - started, 3))


@internal
def try_erasures(
    workspace: Workspace,
    ensemble: str,
    *,
    subjects: int,
    canaries: int,
    controls: int,
    rng: np.random.Generator,
    progress: Progress,
) -> Forgetting:
    """The same, for who holds the data set's lock."""
    version, manifest = _current(workspace, ensemble)
    _refuse_open(workspace, manifest)
    progress(0.0, "reading")
    audited = audited_of(workspace, version, manifest, rng)
    people = [*_living(audited, subjects, rng), *_canaries(audited, canaries, rng)]
    found = _report(audited, [*_tried(workspace, audited, people, controls, rng, progress)])
    _refuse_open(workspace, manifest)
    return found


def _refuse_senseless(subjects: int, canaries: int, controls: int) -> None:
    for name, asked, (low, high) in (("subjects", subjects, SUBJECTS), ("canaries", canaries, CANARIES)):
        if asked and not low <= asked <= high:
            raise InputError(f"asked for {asked} {name}; an audit takes from {low} to {high:,}, or 0")
    if not subjects and not canaries:
        raise InputError("there is nobody to erase on trial", hint="ask for subjects, canaries or both")
    if controls < 1:
        raise InputError(f"asked for {controls} controls; without any, no digest is compared", hint="--controls 20")


def _refuse_open(workspace: Workspace, manifest: Manifest) -> None:
    with workspace.engine.connect() as connection:
        refuse_open_request(connection, manifest.dataset, _NOTHING)


def _current(workspace: Workspace, ensemble: str) -> tuple[Artifact, Manifest]:
    with workspace.engine.connect() as connection:
        version = current_versions(connection).get(ensemble)
    if version is None:
        raise NotFoundError(f"no ensemble {ensemble!r} in this workspace", hint="workbench lineage DATASET lists them")
    return version, read_manifest(workspace, version)


@internal
def audited_of(workspace: Workspace, version: Artifact, manifest: Manifest, rng: np.random.Generator) -> Audited:
    """Reads all that an audit needs; raises InputError where the ensemble can't be audited."""
    if stored_config(manifest.config, TrainConfig).private:
        raise InputError(
            f"{manifest.ensemble} is differentially private: its noise is drawn anew, so no training can be repeated",
            hint="its epsilon bounds what it tells of anyone",
        )
    filled = sum(c.digest is not None for c in manifest.constituents)
    if filled <= FEWEST_SIBLINGS:
        raise InputError(
            f"{manifest.ensemble} has {filled} shards with records; an audit takes {FEWEST_SIBLINGS + 1} or more, since the "
            "others are its reference models",
            hint="train with more shards",
        )
    with workspace.engine.connect() as connection:
        store = catalog.store(connection, workspace, manifest.dataset)
        constituents = [lineage.get(connection, parent).body for parent in version.derived_from]
    elsewhere = {int(body["shard"]) for body in constituents if learnt_elsewhere(body)}
    holdout = store.read("holdout")
    chosen = np.zeros(len(holdout), dtype=bool)
    chosen[rng.permutation(len(holdout))[:_MOST_POPULATION]] = True
    return Audited(
        manifest=manifest,
        stale=frozenset(pending_of(version)) | elsewhere,
        objects=objects_of(workspace, manifest.dataset),
        records=store.read("train"),
        population=holdout.rows(chosen),
    )


def _shards_to_try(audited: Audited) -> list[int]:
    """Shards whose constituent is what training on the store gives, and where somebody is left when one is erased."""
    partition = audited.manifest.partition
    people = np.bincount(partition.shard_of(np.unique(audited.records.points)), minlength=partition.n_shards)
    shards = sorted(set(np.flatnonzero(people > 1).tolist()) & audited.constituents.keys() - audited.stale)
    if not shards:
        raise InputError(
            f"no shard of {audited.manifest.ensemble} can be tried: each has one subject, got rows since it was trained, or "
            "was trained by other libraries",
            hint="train the ensemble again",
        )
    return shards


def _living(audited: Audited, n: int, rng: np.random.Generator) -> Iterator[Subject]:
    """`n` subjects, uniformly of all in the shards to try; all of them where they are fewer."""
    if not n:
        return
    records = audited.records
    people = np.unique(records.points[np.isin(audited.homes, _shards_to_try(audited))])
    if len(people) < SUBJECTS[0]:
        raise InputError(
            f"fewer than {SUBJECTS[0]} subjects can be erased on trial", hint="--subjects 0: canaries alone"
        )
    for point in rng.permutation(people)[:n]:
        yield _subject(audited, records.rows(records.points == point), living=True)


def _canaries(audited: Audited, n: int, rng: np.random.Generator) -> Iterator[Subject]:
    """`n` artificial subjects, uniform over the public domain and the shards to try, each of as many equal rows as allowed."""
    if not n:
        return
    records, partition = audited.records, audited.manifest.partition
    planted, k = plant(records.codec, n, rng=rng), records.schema.max_rows_per_subject
    for values, slice_point, shard in zip(
        planted.values, planted.points, rng.choice(_shards_to_try(audited), n).tolist(), strict=True
    ):
        low, high = partition.interval(shard)
        rows = Dataset(
            name=records.name,
            schema=records.schema,
            values=np.tile(values, (k, 1)),
            points=np.full(k, rng.integers(low, high - 1, dtype=np.uint64, endpoint=True)),
            slice_points=np.full(k, slice_point),
        )
        yield _subject(audited, rows, living=False)


def _subject(audited: Audited, rows: Dataset, *, living: bool) -> Subject:
    partition = audited.manifest.partition
    return Subject(
        living=living,
        rows=rows,
        shard=int(partition.shard_of(rows.points)[0]),
        slice_number=int(partition.slice_of(rows.slice_points)[0]),
    )


def _tried(
    workspace: Workspace,
    audited: Audited,
    people: Sequence[Subject],
    controls: int,
    rng: np.random.Generator,
    progress: Progress,
) -> Iterator[Trial]:
    """The trials of all people; BusyError as soon as someone has an open erasure request."""
    shards = rng.permutation(sorted(audited.constituents))[: _MOST_SIBLINGS + 1].tolist()
    siblings = min(_MOST_SIBLINGS, len(audited.constituents) - 1)
    chosen = frozenset(_controls(people, controls))
    done = trials(audited, people, references(audited, people, shards), siblings=siblings, controls=chosen)
    for number, trial in enumerate(done, start=1):
        _refuse_open(workspace, audited.manifest)
        progress(number / len(people), f"{number} of {len(people)} erased on trial")
        yield trial


def _controls(people: Sequence[Subject], n: int) -> list[int]:
    """Places of `n` of the living and `n` canaries, first those not of the first slice: there both trainings are one."""
    order = sorted(range(len(people)), key=lambda place: people[place].slice_number == 0)
    return [place for living in _GROUPS for place in [p for p in order if people[p].living == living][:n]]


def _report(audited: Audited, done: Sequence[Trial]) -> Forgetting:
    share = sum(trial.living for trial in done) / len(np.unique(audited.records.points))
    scores = {
        (living, attack, moment): together(found, share=share if living else 0.0)
        for living in _GROUPS
        for attack in ("LiRA", "RMIA")
        for moment in (BEFORE, AFTER, SCRATCH)
        if (
            found := [
                t.scores[moment][attack] for t in done if t.living == living and attack in t.scores.get(moment, ())
            ]
        )
    }
    compared = [trial.exact for trial in done if trial.exact is not None]
    finding, sentence = find(
        {f"{attack} on {_GROUPS[living]}": s for (living, attack, moment), s in scores.items() if moment == BEFORE},
        {f"{attack} on {_GROUPS[living]}": s for (living, attack, moment), s in scores.items() if moment == AFTER},
        compared=len(compared),
        equal=sum(compared),
    )
    rows = [_row(*key, found) for key, found in scores.items()]
    lacking = {
        _hits(share): f"where fewer than {fewest_for(share)} subjects were erased"
        for share in FALSE_ALARMS
        if any(row.hits[_hits(share)] is None for row in rows)
    }
    return Forgetting(
        ensemble=audited.manifest.ensemble,
        version=audited.manifest.version,
        finding=finding,
        verdict=sentence,
        compared=len(compared),
        equal=sum(compared),
        erased={group: sum(trial.living == living for trial in done) for living, group in _GROUPS.items()},
        siblings=next(iter(scores.values())).members.shape[1],
        guessing={"auc": BASELINE} | {_hits(share): share for share in FALSE_ALARMS},
        attacks=tuple(rows),
        not_computable=lacking | ({"RMIA": audited.no_rmia} if audited.no_rmia else {}),
        note=_NOTE,
    )


def _row(living: bool, attack: str, moment: str, scores: Scores) -> MembershipRow:
    found = membership(scores)
    hits = {_hits(share): estimate for share, estimate in found.hits.items()}
    return MembershipRow(of=_GROUPS[living], attack=attack, erasure=moment, auc=found.auc, hits=hits)


def _hits(share: float) -> str:
    return f"tpr_at_{100 * share:g}_percent"
