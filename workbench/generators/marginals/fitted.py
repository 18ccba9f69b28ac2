"""A fitted marginal model: a graphical model over merged cells, how they split, and what the schema forbids.

Rare cells are merged before pairs of columns are measured: a table of many cells that hold nearly nothing would be mostly
noise. What is known of them, their noisy counts, says how a merged cell is split again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.generators.marginals.domain import Domain
from workbench.generators.marginals.estimate import WALL, Measurement
from workbench.generators.marginals.model import GraphicalModel, draw_in_groups
from workbench.generators.saved import Arrays, save, saved

Codes = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

# Cells with a noisy count under this many standard deviations are merged (the paper's compression, there 3). At 2 the rare
# values that tell most about a person, such as large capital gains, survive; at 0 fits take longer and gain nothing.
_RARE = 2.0
_KIND = "marginals"


def merge_rare(m: Measurement) -> Codes:
    """For each cell of a noisy one-way marginal its cell in a smaller domain, where all rare cells are the last one."""
    rare = m.values < _RARE * m.sigma
    group = np.cumsum(~rare) - 1
    group[rare] = group.max() + 1
    return group if rare.sum() > 1 else np.arange(len(group))


def merged(m: Measurement, group: Codes) -> Measurement:
    """The measurement of the smaller domain; that a merged cell is noisier is left out, as a marginal has one sigma."""
    return Measurement(m.clique, np.bincount(group, weights=m.values).astype(np.float64), m.sigma)


def shares_of(m: Measurement, group: Codes) -> Shares:
    """Each cell's share of its merged cell: in proportion to the mean of a non-negative count, given the noisy one.

    The mean of a normal of mean y and scale sigma truncated at zero: y + sigma phi(y / sigma) / Phi(y / sigma).
    """
    from scipy.special import log_ndtr  # half a second of start-up

    z = m.values / m.sigma
    expected = z + np.exp(-(z**2) / 2 - log_ndtr(z)) / math.sqrt(2 * math.pi)
    shares: Shares = expected / np.bincount(group, weights=expected)[group]
    return shares


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedMarginals:
    """What a marginal generator learnt: noisy and public values only.

    `groups[i]` maps the cells of column i to the model's; `shares[i]` is each cell's probability within its merged one.
    Raises InputError where the parts do not fit together.
    """

    domain: Domain
    model: GraphicalModel
    groups: tuple[Codes, ...]
    shares: tuple[Shares, ...]

    def __post_init__(self) -> None:
        parts = self.domain.names, self.domain.sizes, self.model.domain.sizes, self.groups, self.shares
        if self.model.domain.names != self.domain.names or len({len(part) for part in parts}) != 1:
            raise InputError("a fitted model needs one group table and one share table per column of its domain")
        for name, size, small, group, share in zip(*parts, strict=True):
            _check_groups(name, size, small, group, share)

    @property
    def total(self) -> float:
        """The noisy number of rows."""
        return self.model.total

    def sample(
        self,
        n: int | None = None,
        *,
        rng: np.random.Generator,
        where: Mapping[str, Shares] | None = None,
    ) -> Codes:
        """`n` rows of codes [n, d] of the domain; the noisy number of rows, at least 1, where n is not given.

        `where` gives by column what share of each cell is allowed, and the rows are drawn from the model given that, exactly.
        Raises InputError where the model says that there are no such rows.
        """
        model, shares = (self.model, self.shares) if not where else self._given(where)
        rows = model.sample(max(1, round(self.total)) if n is None else n, rng=rng)
        for column, (group, share) in enumerate(zip(self.groups, shares, strict=True)):
            rows[:, column] = _expand(rows[:, column], group, share, rng=rng)
        return rows

    def probability(self, where: Mapping[str, Shares]) -> float:
        """How probable the condition is."""
        return math.exp(min(0.0, self._condition(where)[0].log_z - self.model.log_z))

    def _given(self, where: Mapping[str, Shares]) -> tuple[GraphicalModel, tuple[Shares, ...]]:
        model, shares = self._condition(where)
        if model.log_z - self.model.log_z < WALL / 2:
            raise InputError(f"there are no rows with this condition on {sorted(where)}", hint="allow more values")
        return model, shares

    def _condition(self, where: Mapping[str, Shares]) -> tuple[GraphicalModel, tuple[Shares, ...]]:
        """The model given the condition, and how merged cells then split."""
        shares, cliques, potentials = list(self.shares), list(self.model.cliques), list(self.model.potentials)
        for name, allowed in where.items():
            column = self.domain.position[name]
            if allowed.shape != self.shares[column].shape:
                raise InputError(f"a condition on {name!r} says of each of its cells what share is allowed")
            left = allowed * self.shares[column]
            mass = np.bincount(self.groups[column], weights=left)
            known = mass[self.groups[column]] > 0
            shares[column] = np.where(known, left / np.where(known, mass[self.groups[column]], 1), self.shares[column])
            cliques.append((name,))
            potentials.append(np.where(mass > 0, np.log(np.where(mass > 0, mass, 1.0)), WALL))
        model = GraphicalModel(self.model.domain, tuple(cliques), tuple(potentials), self.model.total)
        return model, tuple(shares)

    def save(self, folder: Path) -> None:
        """Writes marginals.json and marginals.safetensors into an existing folder."""
        document = {
            "names": self.domain.names,
            "sizes": self.domain.sizes,
            "cliques": self.model.cliques,
            "total": self.total,
        }
        named = {"potential": self.model.potentials, "group": self.groups, "shares": self.shares}
        save(folder, _KIND, document, {f"{kind}.{i}": a for kind, parts in named.items() for i, a in enumerate(parts)})


def load_marginals(folder: Path) -> FittedMarginals:
    """The fitted model that `save` wrote into `folder`; raises InputError where a file is missing or corrupt."""
    with saved(folder, _KIND) as (document, arrays):
        return _assemble(document, arrays)


def _assemble(document: dict[str, Any], arrays: Arrays) -> FittedMarginals:
    domain = Domain(tuple(document["names"]), tuple(document["sizes"]))
    cliques = tuple(tuple(clique) for clique in document["cliques"])
    columns = range(len(domain.names))
    if len(arrays) != len(cliques) + 2 * len(columns):
        raise InputError(
            f"a marginal model of {len(cliques)} cliques and {len(columns)} columns has {len(arrays)} arrays"
        )
    groups = tuple(arrays[f"group.{i}"] for i in columns)
    small = Domain(domain.names, tuple(int(group.max()) + 1 for group in groups))
    potentials = tuple(arrays[f"potential.{i}"] for i in range(len(cliques)))
    model = GraphicalModel(small, cliques, potentials, document["total"])
    return FittedMarginals(
        domain=domain, model=model, groups=groups, shares=tuple(arrays[f"shares.{i}"] for i in columns)
    )


def _check_groups(name: str, size: int, small: int, group: Codes, shares: Shares) -> None:
    if group.dtype != np.int64 or group.shape != (size,) or set(group.tolist()) != set(range(small)):
        raise InputError(f"the groups of column {name!r} must map its {size} cells onto {small} merged ones")
    if shares.dtype != np.float64 or shares.shape != (size,) or not (np.isfinite(shares) & (shares >= 0)).all():
        raise InputError(f"the shares of column {name!r} must be {size} finite probabilities")
    if not np.allclose(np.bincount(group, weights=shares), 1.0):
        raise InputError(f"the shares of column {name!r} must sum to 1 in each merged cell")


def _expand(codes: Codes, group: Codes, shares: Shares, *, rng: np.random.Generator) -> Codes:
    """Codes of the full domain: a merged cell's rows are split among its cells by their shares."""
    cells, first, count = np.unique(group, return_index=True, return_counts=True)
    expanded: Codes = first[codes]
    for cell in cells[count > 1]:
        members, rows = np.flatnonzero(group == cell), np.flatnonzero(codes == cell)
        split = draw_in_groups(np.zeros(len(rows), dtype=np.int64), np.cumsum(shares[members])[None, :], rng=rng)
        expanded[rows] = members[split]
    return expanded
