"""What every generator is to the rest of the workbench: something that is fitted once and then drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from workbench.data.dataset import Dataset
from workbench.privacy.accounting import dpa
from workbench.progress import FitProgress, silent
from workbench.schema.codec import Values
from workbench.schema.conditions import Within


class FittedGenerator(Protocol):
    """A fitted generator. A private one holds noisy and public values only; no one holds a training row."""

    @property
    def total(self) -> float:
        """The number of rows it was fitted to: a noisy one where the generator is private."""

    def sample(self, n: int, *, rng: np.random.Generator, where: Mapping[str, Within] | None = None) -> Values:
        """`n` encoded rows, float64 [n, d] as the codec defines, each `where` it is asked to be.

        Raises InputError where the condition can't be met.
        """

    def save(self, folder: Path) -> None:
        """Writes what sampling needs into an existing folder: JSON and safetensors."""


class Generator(Protocol):
    """A generator before its fit."""

    @property
    def event(self) -> dpa.DpEvent:
        """What one fit costs, to be charged before it; NonPrivateDpEvent where it is not private."""

    def fit(self, dataset: Dataset, *, notebook: Path | None = None, progress: FitProgress = silent) -> FittedGenerator:
        """Fits the training records. With `notebook`, a fit that was cut off goes on without a second charge."""


class NotPrivate:
    """A generator that bounds nothing of what it tells about one person: no charge covers it."""

    @property
    def event(self) -> dpa.DpEvent:
        """Not private."""
        return dpa.NonPrivateDpEvent()
