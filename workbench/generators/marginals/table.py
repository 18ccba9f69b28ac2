"""Marginal generators on tables: encoded records in, encoded rows out, by shard where they are sharded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from workbench.data.bucket_file import Binner
from workbench.data.dataset import Dataset
from workbench.data.partition import Partition
from workbench.data.store import Store
from workbench.errors import InputError
from workbench.generators.marginals.domain import Domain
from workbench.generators.marginals.estimate import Forbidden, estimate
from workbench.generators.marginals.fitted import FittedMarginals, load_marginals, merged, shares_of
from workbench.generators.marginals.forecast import Outlook, forecast
from workbench.generators.marginals.measurement_log import (
    Blocks,
    Codes,
    Notebook,
    Rows,
    measurement_of,
    read_measurements,
)
from workbench.generators.outlook import Forecast
from workbench.privacy.accounting import dpa
from workbench.progress import FitProgress, Progress, silent
from workbench.schema import Codec
from workbench.schema.codec import Values
from workbench.schema.conditions import Within

NOTES = "measurements.jsonl"
_BLOCK_ROWS = 1 << 16  # that are counted at a time, where files hold fewer


class Method(Protocol):
    """How rows are measured: AIM, MST or independent columns."""

    @property
    def event(self) -> dpa.ZCDpEvent:
        """What one fit costs."""

    def outlook(self, domain: Domain) -> Outlook:
        """What it will measure; InputError where the table is too wide for it."""

    def fit(
        self, rows: Rows, notebook: Notebook, *, forbidden: tuple[Forbidden, ...] = (), progress: FitProgress = silent
    ) -> FittedMarginals:
        """Fits the rows; all that is learnt of them goes through the notebook."""


@dataclass(frozen=True, kw_only=True)
class MarginalGenerator:
    """A marginal method on a data set's records, whose subjects are in `shards` shards by their hash.

    Every shard is measured by itself, so a subject's shard can be measured again alone (parallel composition: all shards
    together cost what one does); the noise of a marginal is sqrt(shards) times as large for it.
    """

    method: Method
    shards: int = 1

    @property
    def event(self) -> dpa.ZCDpEvent:
        """What one fit costs, to be charged before it."""
        return self.method.event

    def forecast(self, name: str, codec: Codec, per_subject: int) -> Forecast:
        """Noise, memory and seconds of a fit; InputError where it takes more memory than it may, or too many columns."""
        outlook = self.method.outlook(Domain(codec.free_names, codec.free_sizes))
        return forecast(
            name,
            outlook,
            shards=self.shards,
            columns=codec.free_names,
            sizes=codec.free_sizes,
            per_subject=per_subject,
        )

    def fit(
        self, dataset: Dataset | Store, *, notebook: Path | None = None, progress: FitProgress = silent
    ) -> FittedTable:
        """Fits the training records; with `notebook`, a fit that was cut off goes on and costs nothing more.

        Those of a store are counted file by file: memory does not grow with the table.
        """
        notes, codec = Notebook(notebook), Codec(dataset.schema)
        rows = _rows(dataset, self.shards)
        fitted = self.method.fit(rows, notes, forbidden=_forbidden(codec), progress=progress)
        return FittedTable(fitted=fitted, codec=codec, notes=tuple(notes.measurements))


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedTable:
    """A fitted marginal model with the codec of its table and the measurements it was made from."""

    fitted: FittedMarginals
    codec: Codec
    notes: tuple[dict[str, Any], ...] = ()

    @property
    def total(self) -> float:
        """The noisy number of rows."""
        return self.fitted.total

    def sample(self, n: int, *, rng: np.random.Generator, where: Mapping[str, Within] | None = None) -> Values:
        """`n` encoded rows, exactly from the model given the condition."""
        within = where or {}
        weights = {name: self.codec.cell_weights(name, condition) for name, condition in within.items()}
        return self.codec.complete(self.fitted.sample(n, rng=rng, where=weights), rng=rng, limits=within)

    def save(self, folder: Path) -> None:
        """Writes the model and its measurements, which are noisy, into an existing folder."""
        self.fitted.save(folder)
        Notebook.write(folder / NOTES, self.notes)

    def remeasured(
        self, dataset: Dataset | Store, shards: Sequence[int], *, progress: Progress = silent
    ) -> FittedTable:
        """The same measurements with those of `shards` taken anew from `dataset`; for `remeasure_event`.

        What was chosen stays chosen: it is differentially private as it is. The model is fitted again from where it was.
        """
        n_shards = len(self.notes[0]["values"]) if self.notes else 0
        rows = _rows(dataset, n_shards)
        small = rows.grouped(self.fitted.groups, self.fitted.model.domain)
        for note in self.notes:
            (rows if len(note["clique"]) == 1 else small).expect([tuple(note["clique"])])
        notes = [_again(note, rows if len(note["clique"]) == 1 else small, shards) for note in self.notes]
        progress(0.5, f"{len(notes)} measurements of {len(shards)} of {n_shards} shards taken again")
        measured = [measurement_of(note) for note in notes]
        full, groups = self.fitted.domain, self.fitted.groups
        ones, others = measured[: len(full.names)], measured[len(full.names) :]
        model = estimate(
            self.fitted.model.domain,
            [*(merged(m, group) for m, group in zip(ones, groups, strict=True)), *others],
            forbidden=_forbidden(self.codec),
            start=self.fitted.model,
        )
        shares = tuple(shares_of(m, group) for m, group in zip(ones, groups, strict=True))
        fitted = FittedMarginals(domain=full, model=model, groups=groups, shares=shares)
        return replace(self, fitted=fitted, notes=tuple(notes))

    @property
    def remeasure_event(self) -> dpa.ZCDpEvent:
        """What taking one shard's measurements anew costs each of its subjects."""
        return dpa.ZCDpEvent(sum(note["rho"] for note in self.notes))


def load_table(folder: Path, codec: Codec) -> FittedTable:
    """The fitted model that `save` wrote into `folder`; raises InputError where a file is missing or corrupt."""
    fitted = load_marginals(folder)
    if (fitted.domain.names, fitted.domain.sizes) != (codec.free_names, codec.free_sizes):
        raise InputError(f"{folder} holds a model of another schema", hint="fit the generator again")
    return FittedTable(fitted=fitted, codec=codec, notes=read_measurements(folder / NOTES))


def _rows(dataset: Dataset | Store, shards: int) -> Rows:
    codec, partition = Codec(dataset.schema), Partition(n_shards=shards, n_slices=1)
    domain, most = Domain(codec.free_names, codec.free_sizes), dataset.schema.max_rows_per_subject
    if isinstance(dataset, Store):
        read = (partial(_blocks, dataset, codec, partition.interval(shard)) for shard in range(shards))
        return Rows(domain, tuple(map(Blocks, read)), most)
    codes = codec.bin_free(dataset.values)
    place = partition.shard_of(dataset.points)
    return Rows(domain, tuple(codes[place == shard] for shard in range(shards)) if shards > 1 else (codes,), most)


def _blocks(store: Store, codec: Codec, interval: tuple[int, int]) -> Iterator[Codes]:
    """Yield the codes of an interval's training records, those of several small files together."""
    held: list[Codes] = []
    binner = Binner(codec)
    for table in store.tables("train", interval):
        held.append(binner.bins(table).T)
        if sum(columns.shape[1] for columns in held) >= _BLOCK_ROWS:
            yield np.concatenate(held, axis=1).T
            held = []
    if held:
        yield np.concatenate(held, axis=1).T


def _forbidden(codec: Codec) -> tuple[Forbidden, ...]:
    return tuple(Forbidden(names, cells) for names, cells in codec.forbidden())


def _again(note: dict[str, Any], rows: Rows, shards: Sequence[int]) -> dict[str, Any]:
    """A note with the values of some shards taken anew, at its own noise."""
    fresh = rows.noisy(tuple(note["clique"]), sigma=note["sigma"], shards=shards)
    values = [fresh.get(shard, old) for shard, old in enumerate(note["values"])]
    return {**note, "values": values}
