"""A distribution over tables of codes as a product of clique potentials: exact marginals, low-variance sampling."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.generators.marginals.domain import Clique, Domain
from workbench.generators.marginals.elimination import Table, junction_tree

Codes = npt.NDArray[np.int64]

# Rows are drawn in blocks that fit the processor's cache, several at a time.
_BLOCK_ROWS = 2**17
_THREADS = min(os.cpu_count() or 1, 8)


@dataclass(frozen=True, eq=False)
class GraphicalModel:
    """P(x) proportional to exp(sum of potentials[i][x restricted to cliques[i]]), standing for a table of `total` rows.

    Columns in no clique are uniform and independent. Raises InputError where a potential has the wrong shape or is not
    finite, or the total is not positive.

    `misfit` is how far the marginals are from the measurements that the model was fitted to, or where these contradict one
    another from what agrees with them best: the root mean square over their cells, in standard deviations of the noise.
    """

    domain: Domain
    cliques: tuple[Clique, ...]
    potentials: tuple[Table, ...]
    total: float
    misfit: float = math.nan  # fitted to nothing

    def __post_init__(self) -> None:
        if len(self.cliques) != len(self.potentials):
            raise InputError(
                f"a model needs one potential per clique, found {len(self.potentials)} for {len(self.cliques)}"
            )
        for clique, potential in zip(self.cliques, self.potentials, strict=True):
            shape = self.domain.shape(clique)
            if potential.shape != shape or potential.dtype != np.float64 or not np.isfinite(potential).all():
                raise InputError(f"the potential of {clique} must be finite float64 of shape {shape}")
        if not (math.isfinite(self.total) and self.total > 0):
            raise InputError(f"a model's total must be positive and finite, found {self.total}")

    def marginal(self, clique: Sequence[str]) -> Table:
        """Expected counts of the marginal of any columns; float64, sums to `total`."""
        query = tuple(clique)
        tree = junction_tree(self.domain, [*self.cliques, query])
        _, tables = tree.marginals([*self.potentials, np.zeros(self.domain.shape(query))])
        return tables[-1] * self.total

    def sample(self, n: int, *, rng: np.random.Generator) -> Codes:
        """`n` rows of codes [n, d] from the model, with less variance than independent draws.

        Guarantees:
          - each row's distribution is the model's: the expected count of every cell of every marginal is n P(cell)
          - within each block of rows, the count of a value among the rows that share the columns it depends on is its
            expectation given them, rounded up or down
          - equal generators give equal rows, whatever the number of threads
        """
        if n < 0:
            raise InputError(f"the number of rows to sample cannot be negative, found {n}")
        rows = np.empty((len(self.domain.names), n), dtype=np.int64)
        blocks = [rows[:, start : start + _BLOCK_ROWS] for start in range(0, n, _BLOCK_ROWS)]
        conditionals = self._conditionals  # computed once, before the threads share it
        with ThreadPoolExecutor(_THREADS) as pool:
            list(
                pool.map(
                    lambda job: _fill(self.domain, conditionals, *job), zip(blocks, rng.spawn(len(blocks)), strict=True)
                )
            )
        return rows.T

    @cached_property
    def log_z(self) -> float:
        """The log of the sum of all unnormalised probabilities."""
        return junction_tree(self.domain, self.cliques).conditionals(self.potentials)[0]

    @cached_property
    def _conditionals(self) -> list[_Conditional]:
        """How to draw the own columns of each bag given its shared ones, parents first."""
        tree = junction_tree(self.domain, self.cliques)
        _, tables = tree.conditionals(self.potentials)
        return [
            _Conditional(bag.shared, bag.own, np.cumsum(table.reshape(self.domain.cells(bag.shared), -1), axis=1))
            for bag, table in zip(tree.bags, tables, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class _Conditional:
    """Columns `own` given columns `given`: cumulative probabilities [cells of given, cells of own]."""

    given: Clique
    own: Clique
    cumulative: Table


def _fill(domain: Domain, conditionals: list[_Conditional], rows: Codes, rng: np.random.Generator) -> None:
    """Draws one block of rows [d, n] in place."""
    for conditional in conditionals:
        group = np.zeros(rows.shape[1], dtype=np.int64)
        for name in conditional.given:
            group *= domain.sizes[domain.position[name]]
            group += rows[domain.position[name]]
        cell = draw_in_groups(group, conditional.cumulative, rng=rng)
        for name in reversed(conditional.own[1:]):
            cell, rows[domain.position[name]] = np.divmod(cell, domain.sizes[domain.position[name]])
        rows[domain.position[conditional.own[0]]] = cell


def draw_in_groups(group: Codes, cumulative: Table, *, rng: np.random.Generator) -> Codes:
    """A cell for each row, drawn from its group's cumulative probabilities [groups, cells] by systematic sampling.

    Each group of m rows receives every cell floor or ceil of m times its probability often, in random order; a row's
    own distribution is exactly its group's.
    """
    n_groups, n_cells = cumulative.shape
    sizes = np.bincount(group, minlength=n_groups)
    present = np.flatnonzero(sizes)
    # Counts are the steps of floor(m F(cell) + u) with one uniform u per group: their mean is m P(cell). The last edge
    # is set, not computed, so that rounding never loses or adds a row.
    rows = sizes[present, None]
    edges = np.floor(cumulative[present] * rows + rng.random(rows.shape)).astype(np.int64)
    np.minimum(edges, rows, out=edges)
    edges[:, -1:] = rows
    counts = np.diff(edges, axis=1, prepend=0)
    drawn = np.repeat(np.broadcast_to(np.arange(n_cells), counts.shape).ravel(), counts.ravel())
    order = _shuffled_within(group, n_groups, rng)
    cell = np.empty(len(group), dtype=np.int64)
    cell[order] = drawn
    return cell


def _shuffled_within(group: Codes, n_groups: int, rng: np.random.Generator) -> Codes:
    """Row numbers by group, in random order inside each: one sort of words [group | random bits | row number]."""
    n = len(group)
    index_bits, group_bits = max(n - 1, 1).bit_length(), (n_groups - 1).bit_length()
    word = rng.integers(0, 2**64, n, dtype=np.uint64)
    word >>= np.uint64(group_bits + index_bits)
    word <<= np.uint64(index_bits)
    word |= np.arange(n, dtype=np.uint64)
    if group_bits:
        word |= group.astype(np.uint64) << np.uint64(64 - group_bits)
    word.sort()
    word &= np.uint64((1 << index_bits) - 1)
    return word.view(np.int64)
