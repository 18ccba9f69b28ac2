"""Gaussian copula: a beta distribution per column and one correlation matrix, by the copulas library. Not private.

It is the model of SDV's GaussianCopulaSynthesizer (Patki et al. 2016) with its defaults: a category becomes a uniform number
in an interval as wide as the category is frequent. SDV itself stays out: its log in the user's home would keep how many rows
every fit had.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from workbench.data.dataset import Dataset
from workbench.errors import InputError
from workbench.generators.flat_table import FlatTable, flat_table, load_flat_table
from workbench.generators.generator import NotPrivate
from workbench.generators.rejection_sampling import draw
from workbench.generators.saved import save, saved
from workbench.progress import FitProgress, silent
from workbench.schema import Codec
from workbench.schema.codec import Values
from workbench.schema.value_sets import Within

_KIND = "gaussian_copula"
_PARAMETERS = {"BetaUnivariate": {"a", "b", "loc", "scale"}, "GaussianUnivariate": {"loc", "scale"}}


@dataclass(frozen=True, kw_only=True)
class GaussianCopula(NotPrivate):
    """The Gaussian copula synthesizer."""

    def fit(
        self, dataset: Dataset, *, notebook: Path | None = None, progress: FitProgress = silent
    ) -> FittedGaussianCopula:
        """Fits the records; raises InputError where there is nothing to learn."""
        from copulas.multivariate import GaussianMultivariate

        del notebook  # it notes charges, and there are none
        flat = flat_table(dataset, generator="a Gaussian copula")
        table = flat.table(dataset.values)
        shares = {
            p.name: np.bincount(table[p.name], minlength=flat.cells(p)) / len(table) for p in flat.parts if p.coded
        }
        rng = np.random.default_rng(secrets.randbits(128))
        for name, share in shares.items():
            table[name] = _spread(table[name].to_numpy(), share, rng)
        copula = GaussianMultivariate(distribution=_Betas(len(flat.parts), progress))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scipy's search for the parameters
            copula.fit(table)
        progress(1.0, "done")
        learnt = copula.to_dict()
        columns = tuple(Marginal(kind=u.pop("type").rsplit(".", 1)[1], parameters=u) for u in learnt["univariates"])
        return FittedGaussianCopula(
            flat=flat,
            shares=shares,
            marginals=columns,
            correlation=np.array(learnt["correlation"]),
            total=float(len(table)),
        )


class _Betas(dict[str, Any]):
    """The distribution of every column, as the library looks them up one by one before it fits each: what reports it."""

    def __init__(self, columns: int, progress: FitProgress) -> None:
        super().__init__()
        self._asked, self._columns, self._progress = 0, columns, progress

    def get(self, key: str, default: Any = None) -> Any:
        from copulas.univariate import BetaUnivariate

        del key, default
        self._asked += 1
        self._progress((self._asked - 1) / self._columns, f"column {self._asked} of {self._columns}")
        return BetaUnivariate


class Marginal(NamedTuple):
    """The distribution of one column of the flat table: a class of the copulas library and its parameters."""

    kind: str
    parameters: dict[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedGaussianCopula:
    """A fitted Gaussian copula: parameters only, which tell of single rows where these are a column's least or greatest.

    `shares` is how frequent each code is. Raises InputError where the parts do not fit together.
    """

    flat: FlatTable
    shares: Mapping[str, npt.NDArray[np.float64]]
    marginals: tuple[Marginal, ...]
    correlation: npt.NDArray[np.float64]
    total: float

    def __post_init__(self) -> None:
        parts = self.flat.parts
        if len(self.marginals) != len(parts) or self.correlation.shape != (len(parts), len(parts)):
            raise InputError("a Gaussian copula has one distribution and one row of correlations per column")
        if any(set(m.parameters) != _PARAMETERS.get(m.kind) for m in self.marginals):
            raise InputError("a Gaussian copula's columns are beta or normal distributions with all their parameters")
        cells = {part.name: self.flat.cells(part) for part in parts if part.coded}
        if cells != {name: len(share) for name, share in self.shares.items()}:
            raise InputError("a Gaussian copula has one share per code of its columns")
        numbers = [*self.correlation.flat, *(v for m in self.marginals for v in m.parameters.values())]
        if not np.isfinite([*numbers, *(v for share in self.shares.values() for v in share)]).all():
            raise InputError("a Gaussian copula's parameters are finite numbers")

    def sample(self, n: int, *, rng: np.random.Generator, where: Mapping[str, Within] | None = None) -> Values:
        """`n` encoded rows; equal seeds give equal rows. Raises InputError where `where` is hardly met."""
        copula = self._copula(rng)
        return draw(lambda rows: self._drawn(copula, rows), n, codec=self.flat.codec, where=where)

    def _copula(self, rng: np.random.Generator) -> Any:
        from copulas.multivariate import GaussianMultivariate

        univariates = [m.parameters | {"type": f"copulas.univariate.{m.kind}"} for m in self.marginals]
        names = [part.name for part in self.flat.parts]
        copula = GaussianMultivariate.from_dict(
            {"columns": names, "univariates": univariates, "correlation": self.correlation.tolist()}
        )
        copula.set_random_state(int(rng.integers(2**31)))
        return copula

    def _drawn(self, copula: Any, n: int) -> Values:
        table = copula.sample(n)
        for name, share in self.shares.items():
            table[name] = _gathered(table[name].to_numpy(), share)
        return self.flat.values(table, n)

    def save(self, folder: Path) -> None:
        """Writes gaussian_copula.json into an existing folder."""
        document = {
            "table": self.flat.to_json(),
            "shares": {name: share.tolist() for name, share in self.shares.items()},
            "marginals": [{"kind": m.kind, "parameters": m.parameters} for m in self.marginals],
            "correlation": self.correlation.tolist(),
            "total": self.total,
        }
        save(folder, _KIND, document)


def load_gaussian_copula(folder: Path, codec: Codec) -> FittedGaussianCopula:
    """The fitted copula that `save` wrote into `folder`; raises InputError where the file is missing or damaged."""
    with saved(folder, _KIND) as (document, _):
        return FittedGaussianCopula(
            flat=load_flat_table(document["table"], codec),
            shares={name: np.array(share, dtype=np.float64) for name, share in document["shares"].items()},
            marginals=tuple(Marginal(m["kind"], dict(m["parameters"])) for m in document["marginals"]),
            correlation=np.array(document["correlation"], dtype=np.float64),
            total=float(document["total"]),
        )


def _spread(
    codes: npt.NDArray[np.int64], share: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """A number in [0, 1] for each code, uniform in its interval."""
    edges = np.append(0.0, np.cumsum(share))
    return edges[codes] + rng.random(len(codes)) * share[codes]


def _gathered(numbers: npt.NDArray[np.float64], share: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """The code in whose interval each number lies; a code that never occurred has none."""
    codes = np.flatnonzero(share)
    edges = np.cumsum(share[codes])[:-1]
    return codes[np.searchsorted(edges, numbers, side="right")]
