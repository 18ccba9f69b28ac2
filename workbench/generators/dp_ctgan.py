"""DP-CTGAN: a conditional generative adversarial network, trained with differential privacy per subject.

A generator network turns noise, and cells drawn from noisy single columns, into rows; a discriminator tells them from real
ones and is trained by DP-SGD (Abadi et al. 2016; Opacus clips and adds the noise). After Xu et al. 2019 and Fang et al. 2022,
but for what breaks privacy there or in code in circulation: no modes, frequencies or categories are read from the rows, no
training by sampling, no normalisation or penalty across rows, no step that is not priced, no stopping by a private loss.

Not promised: noise that withstands attacks on floating-point numbers. Opacus's secure mode needs a library that does not
exist for this torch; torch's own generator, seeded anew for every step by the operating system, draws the noise of the
steps. Who sees the generator sees no step, only what hundreds of them left in another network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workbench.data.dataset import Dataset
from workbench.errors import InputError
from workbench.generators.marginals.domain import Domain
from workbench.generators.marginals.estimate import estimate_total
from workbench.generators.marginals.fitted import shares_of
from workbench.generators.marginals.initial_measurements import measure_all
from workbench.generators.marginals.measurement_log import Notebook, Rows
from workbench.generators.rejection_sampling import draw
from workbench.generators.saved import save, saved
from workbench.privacy.accounting import dpa
from workbench.privacy.calibration import epsilon_of, least_noise, zcdp_rho
from workbench.progress import FitProgress, silent
from workbench.schema import Codec
from workbench.schema.codec import Values
from workbench.schema.value_sets import Within

Array = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int64]

STEPS = 300
# Each subject's chance of being in a step's batch. Public: the number of subjects is not known, and a rate needs none.
_RATE = 0.1
# Shares of the zCDP budget for all single columns and for the number of subjects.
_ONE_WAY, _SUBJECTS = 0.1, 0.002
# The discriminator has a weight for each pair of cells.
MOST_CELLS = 4096
_KIND = "dp_ctgan"
_NAMES = ("start", "first.weight", "first.bias", "second.weight", "second.bias", "last.weight", "last.bias")
_AT_ONCE = 2**13  # rows drawn at once
_CALIBRATIONS = 20
_REPORTS = 20  # of the training; each prices the steps so far, which takes 0.15 s


def check_cells(codec: Codec) -> None:
    """Raises InputError where the schema has more cells than the discriminator can take."""
    if sum(codec.free_sizes) > MOST_CELLS:
        raise InputError(
            f"dp_ctgan takes schemas of at most {MOST_CELLS:,} cells in all, found {sum(codec.free_sizes):,}",
            hint="declare fewer bins or categories, or take generator: mst",
        )


@dataclass(frozen=True, kw_only=True)
class DpCtgan:
    """A fit that is (epsilon, delta) differentially private per subject, add/remove.

    Guarantees:
      - a fit costs `event`, whatever the rows: noisy single columns, a noisy number of subjects, and `steps` steps on Poisson
        samples of subjects; steps and sampling rate are constants, and all rows of a subject are clipped as one
      - the rest is computed from these and the schema; the number of rows is private, `total` is a noisy one
    """

    epsilon: float
    delta: float
    steps: int = STEPS

    def __post_init__(self) -> None:
        zcdp_rho(self.epsilon, self.delta)
        if self.steps < 1:
            raise InputError(f"training takes at least one step, found {self.steps}")

    @cached_property
    def noise(self) -> float:
        """The noise multiplier of the steps: the least (to 0.1 %) for which a fit costs at most epsilon."""
        return least_noise(lambda noise: self._event_after(self.steps, noise), self.epsilon, self.delta)

    @property
    def event(self) -> dpa.DpEvent:
        """What one fit costs, to be charged before it."""
        return self._event_after(self.steps, self.noise)

    def _event_after(self, steps: int, noise: float) -> dpa.DpEvent:
        step = dpa.PoissonSampledDpEvent(_RATE, dpa.GaussianDpEvent(noise))
        return dpa.ComposedDpEvent(
            [dpa.ZCDpEvent(self._rho * (_ONE_WAY + _SUBJECTS)), dpa.SelfComposedDpEvent(step, steps)]
        )

    @cached_property
    def _rho(self) -> float:
        return zcdp_rho(self.epsilon, self.delta)

    def fit(self, dataset: Dataset, *, notebook: Path | None = None, progress: FitProgress = silent) -> FittedDpCtgan:
        """Fits the records; raises InputError where the schema has too many cells.

        With `notebook`, a fit that was cut off goes on without a second charge, unless it was cut off in its training.
        """
        codec = dataset.codec
        check_cells(codec)
        notes = Notebook(notebook)
        progress(0.0, "measuring single columns")
        known = self._measure(dataset, notes)
        asked = {"steps": self.steps, "rate": _RATE, "noise": self.noise}
        weights = notes.train(asked, lambda: self._train(dataset, known, progress))
        fitted = FittedDpCtgan(codec=codec, weights=weights, total=known.total)
        progress(1.0, "done")
        return fitted.calibrated()

    def _measure(self, dataset: Dataset, notes: Notebook) -> _Known:
        codec, most = dataset.codec, dataset.schema.max_rows_per_subject
        codes = codec.bin_free(dataset.values)
        rows = Rows(Domain(codec.free_names, codec.free_sizes), (codes,), most)
        rows.domain.check(codes)
        ones = measure_all(rows, [(name,) for name in codec.free_names], notes, rho=self._rho * _ONE_WAY)
        everyone = np.zeros((len(np.unique(dataset.points)), 1), dtype=np.int64)
        counted = notes.measure(
            Rows(Domain(("subjects",), (1,)), (everyone,), 1), ("subjects",), rho=self._rho * _SUBJECTS
        )
        total, subjects = estimate_total(ones), max(1.0, float(counted.values.sum()))
        return _Known(
            shares=tuple(shares_of(m, np.zeros(m.values.size, dtype=np.int64)) for m in ones),
            total=total,
            subjects=subjects,
            rows_each=min(max(total / subjects, 1.0), float(most)),
        )

    def _train(self, dataset: Dataset, known: _Known, progress: FitProgress) -> dict[str, Array]:
        from workbench.generators.dp_ctgan_networks import Bags, Steps, train

        codec = dataset.codec
        order = np.argsort(dataset.points, kind="stable")
        _, starts, counts = np.unique(dataset.points[order], return_index=True, return_counts=True)
        return train(
            Bags(codec.bin_free(dataset.values)[order], starts, counts, codec.free_sizes),
            Steps(count=self.steps, rate=_RATE, noise=self.noise),
            known.shares,
            subjects=known.subjects,
            rows_each=known.rows_each,
            width=dataset.schema.max_rows_per_subject,
            told=lambda done, loss: self._tell(done, loss, progress),
        )

    def _tell(self, done: int, loss: float, progress: FitProgress) -> None:
        if done % max(1, self.steps // _REPORTS) == 0:
            spent = epsilon_of(self._event_after(done, self.noise), self.delta)
            text = f"step {done} of {self.steps}, epsilon {spent:.3g} spent"
            progress(0.05 + 0.9 * done / self.steps, text, step=done, epsilon=spent, generator_loss=loss)


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What is known of the rows before the training, all of it noisy: each column's shares and three counts."""

    shares: tuple[npt.NDArray[np.float64], ...]
    total: float
    subjects: float
    rows_each: float


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedDpCtgan:
    """A fitted DP-CTGAN: the generator network, the noisy single columns it begins with, and a noisy number of rows.

    `weights` are those of `dp_ctgan_networks.Generator`, and `start`. Raises InputError where they do not fit the codec.
    """

    codec: Codec
    weights: Mapping[str, Array]
    total: float

    def __post_init__(self) -> None:
        cells, weights = sum(self.codec.free_sizes), self.weights
        if set(weights) != set(_NAMES) or any(
            w.dtype != np.float32 or not np.isfinite(w).all() for w in weights.values()
        ):
            raise InputError(f"a DP-CTGAN has finite weights called {list(_NAMES)}")
        width, inputs = weights["first.weight"].shape
        shapes = [(cells,), (width, inputs), (width,), (width, width + inputs), (width,), (cells, width), (cells,)]
        if [weights[name].shape for name in _NAMES] != shapes or inputs <= cells:
            raise InputError("the weights of a DP-CTGAN do not fit its schema")
        if (weights["start"] <= 0).any() or not (math.isfinite(self.total) and self.total >= 0):
            raise InputError("a DP-CTGAN begins with positive shares and has a number of rows")

    def sample(self, n: int, *, rng: np.random.Generator, where: Mapping[str, Within] | None = None) -> Values:
        """`n` encoded rows; equal seeds give equal rows on one platform. Raises InputError where `where` is hardly met."""
        return draw(lambda rows: self.codec.complete(self._codes(rows, rng), rng=rng), n, codec=self.codec, where=where)

    def _codes(self, n: int, rng: np.random.Generator) -> Codes:
        sizes = self.codec.free_sizes
        parts = [
            _draw(self._chances(min(_AT_ONCE, n - first), rng), sizes, rng) for first in range(0, max(n, 1), _AT_ONCE)
        ]
        return np.concatenate(parts)

    def _chances(self, n: int, rng: np.random.Generator) -> Array:
        """Chances [n, cells] of n rows."""
        w, sizes = self.weights, self.codec.free_sizes
        cells = _hot(_draw(np.broadcast_to(w["start"], (n, len(w["start"]))), sizes, rng), sizes)
        noise = rng.standard_normal((n, w["first.weight"].shape[1] - cells.shape[1]), dtype=np.float32)
        blocks = np.split(self._logits(np.concatenate([noise, cells], axis=1)), np.cumsum(sizes)[:-1], axis=1)
        return np.concatenate([_softmax(block) for block in blocks], axis=1)

    def _logits(self, inputs: Array) -> Array:
        """What `dp_ctgan_networks.Generator` answers, without torch."""
        w = self.weights
        hidden = np.maximum(inputs @ w["first.weight"].T + w["first.bias"], 0)
        hidden = np.maximum(np.concatenate([hidden, inputs], axis=1) @ w["second.weight"].T + w["second.bias"], 0)
        logits: Array = hidden @ w["last.weight"].T + w["last.bias"]
        return logits

    def calibrated(self) -> FittedDpCtgan:
        """The same with the last layer's offsets moved until the single columns are the noisy ones."""
        rng, fitted = np.random.default_rng(0), self
        for _ in range(_CALIBRATIONS):
            mean = fitted._chances(_AT_ONCE, rng).mean(axis=0)
            # by at most 2 a time, as what was never drawn could otherwise never come back
            move = np.clip(np.log(self.weights["start"]) - np.log(np.maximum(mean, 1e-9)), -2, 2) / 2
            weights = {**fitted.weights, "last.bias": (fitted.weights["last.bias"] + move).astype(np.float32)}
            fitted = FittedDpCtgan(codec=self.codec, weights=weights, total=self.total)
        return fitted

    def save(self, folder: Path) -> None:
        """Writes dp_ctgan.json and dp_ctgan.safetensors into an existing folder."""
        document = {"names": self.codec.free_names, "sizes": self.codec.free_sizes, "total": self.total}
        save(folder, _KIND, document, self.weights)


def load_dp_ctgan(folder: Path, codec: Codec) -> FittedDpCtgan:
    """The fitted DP-CTGAN that `save` wrote into `folder`; raises InputError where a file is missing or damaged."""
    with saved(folder, _KIND) as (document, weights):
        if (tuple(document["names"]), tuple(document["sizes"])) != (codec.free_names, codec.free_sizes):
            raise InputError(f"{folder} holds a generator of another schema", hint="fit the generator again")
        return FittedDpCtgan(codec=codec, weights=weights, total=float(document["total"]))


def _draw(chances: Array, sizes: tuple[int, ...], rng: np.random.Generator) -> Codes:
    """Codes [n, columns] drawn from chances [n, cells], column by column."""
    columns = []
    for block in np.split(chances, np.cumsum(sizes)[:-1], axis=1):
        heights = np.cumsum(block, axis=1, dtype=np.float64)
        columns.append((heights[:, :-1] <= rng.random((len(block), 1)) * heights[:, -1:]).sum(axis=1))
    return np.stack(columns, axis=1)


def _hot(codes: Codes, sizes: tuple[int, ...]) -> Array:
    return np.concatenate(
        [np.eye(size, dtype=np.float32)[column] for size, column in zip(sizes, codes.T, strict=True)], axis=1
    )


def _softmax(logits: Array) -> Array:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Array = raised / raised.sum(axis=1, keepdims=True)
    return shares
