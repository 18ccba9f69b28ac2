"""Variable elimination on a junction tree: log partition function, conditionals and marginals, exactly.

Potentials and messages are in log space. The upward pass turns each table into the probabilities of its own columns
given those it shares with its parent, with one exponential per cell; the downward pass only multiplies probabilities.
The method is Lauritzen & Spiegelhalter 1988; docs/adr/0004 says why numpy and not torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.generators.marginals.domain import Clique, Domain

Table = npt.NDArray[np.float64]

# A float64 table of 2^27 cells takes 1 GiB, and inference holds several.
_MOST_CELLS = 2**27
# Entries of the graphs that are eliminated side by side.
_ELIMINATED_AT_ONCE = 2**21
_INFEASIBLE = 1e300  # cells, of a table that would have more


@dataclass(frozen=True)
class Bag:
    """A table of a junction tree: the columns it shares with its parent bag, then those that no ancestor has."""

    shared: Clique
    own: Clique
    parent: int | None

    @property
    def columns(self) -> Clique:
        """All columns of the table, one axis each, in this order."""
        return self.shared + self.own


@dataclass(frozen=True)
class JunctionTree:
    """Bags such that every clique fits in one and every column's bags are connected.

    Guarantees:
      - a bag comes after its parent, so the reverse order is an elimination order
      - each column is in `own` of exactly one bag
      - `home[i]` is a bag that contains clique i
    """

    domain: Domain
    cliques: tuple[Clique, ...]
    bags: tuple[Bag, ...]
    home: tuple[int, ...]

    @cached_property
    def _within(self) -> list[tuple[int, int, _Axes]]:
        """Cliques inside others, smallest first: the number, that of the smallest such one, where its axes are in that.

        What is added up and summed out in small tables needs no pass over a bag's.
        """
        cells = [self.domain.cells(clique) for clique in self.cliques]
        order = sorted(range(len(cells)), key=lambda i: (len(self.cliques[i]), cells[i], i))
        within = []
        for rank, number in enumerate(order):
            columns = set(self.cliques[number])
            hosts = [other for other in order[rank + 1 :] if columns.issubset(self.cliques[other])]
            if hosts:
                host = min(hosts, key=cells.__getitem__)
                within.append((number, host, _axes(self.domain, self.cliques[number], self.cliques[host])))
        return within

    @cached_property
    def _terms(self) -> list[list[tuple[int, _Axes]]]:
        """Per bag: the cliques it is home to that are inside no other, and where their axes are in it."""
        inside = {number for number, _, _ in self._within}
        terms: list[list[tuple[int, _Axes]]] = [[] for _ in self.bags]
        for number, (clique, home) in enumerate(zip(self.cliques, self.home, strict=True)):
            if number not in inside:
                terms[home].append((number, _axes(self.domain, clique, self.bags[home].columns)))
        return terms

    @cached_property
    def _separators(self) -> list[_Axes | None]:
        """Per bag with a parent: where the axes of its shared columns are in the parent."""
        return [
            None if bag.parent is None else _axes(self.domain, bag.shared, self.bags[bag.parent].columns)
            for bag in self.bags
        ]

    def conditionals(self, potentials: Sequence[Table]) -> tuple[float, list[Table]]:
        """log Z, and per bag the probabilities of its own columns given its shared ones (sum over the own axes: 1)."""
        summed = list(potentials)
        for number, host, axes in self._within:
            summed[host] = summed[host] + axes.broadcast(summed[number])
        tables: list[Table] = []
        for bag, terms in zip(self.bags, self._terms, strict=True):
            table = np.zeros(self.domain.shape(bag.columns))
            for number, axes in terms:
                table += axes.broadcast(summed[number])
            tables.append(table)
        log_z = 0.0
        for number in reversed(range(len(self.bags))):
            bag, separator, table = self.bags[number], self._separators[number], tables[number]
            own = tuple(range(len(bag.shared), table.ndim))
            peak = table.max(axis=own, keepdims=True)
            table -= peak
            np.exp(table, out=table)
            mass = table.sum(axis=own, keepdims=True)
            table /= mass
            message = (np.log(mass) + peak).reshape(table.shape[: len(bag.shared)])
            if separator is None or bag.parent is None:
                log_z += float(message)
            else:
                tables[bag.parent] += separator.broadcast(message)
        return log_z, tables

    def beliefs(self, conditionals: Sequence[Table]) -> list[Table]:
        """The probability table of each bag, from the conditionals."""
        tables: list[Table] = []
        for bag, separator, conditional in zip(self.bags, self._separators, conditionals, strict=True):
            if separator is None or bag.parent is None:
                tables.append(conditional)
                continue
            shared = separator.project(tables[bag.parent])
            tables.append(conditional * shared.reshape(shared.shape + (1,) * len(bag.own)))
        return tables

    def marginals(self, potentials: Sequence[Table]) -> tuple[float, list[Table]]:
        """log Z, and its gradient: the probability table of each clique, in the shape of its potential."""
        log_z, conditionals = self.conditionals(potentials)
        beliefs = self.beliefs(conditionals)
        tables: list[Table] = [np.empty(0)] * len(self.cliques)
        for belief, terms in zip(beliefs, self._terms, strict=True):
            for number, axes in terms:
                tables[number] = axes.project(belief)
        for number, host, axes in reversed(self._within):
            tables[number] = axes.project(tables[host])
        return log_z, tables


@dataclass(frozen=True)
class _Axes:
    """Where the axes of a clique's table lie in a larger table."""

    order: tuple[int, ...]  # the clique's axes, in the larger table's order
    back: tuple[int, ...]  # the inverse of `order`
    shape: tuple[int, ...]  # the clique's sizes in the larger table's order, 1 for columns it lacks
    lacking: tuple[int, ...]  # the larger table's axes that the clique lacks

    def broadcast(self, table: Table) -> Table:
        return table.transpose(self.order).reshape(self.shape)

    def project(self, table: Table) -> Table:
        summed: Table = table.sum(axis=self.lacking) if self.lacking else table
        return summed.transpose(self.back)


def _axes(domain: Domain, clique: Clique, columns: Clique) -> _Axes:
    order = tuple(clique.index(name) for name in columns if name in clique)
    sizes = zip(columns, domain.shape(columns), strict=True)
    return _Axes(
        order=order,
        back=tuple(order.index(i) for i in range(len(order))),
        shape=tuple(size if name in clique else 1 for name, size in sizes),
        lacking=tuple(i for i, name in enumerate(columns) if name not in clique),
    )


def junction_tree(domain: Domain, cliques: Sequence[Clique]) -> JunctionTree:
    """A junction tree for `cliques` (cyclic, overlapping, repeated, empty or none), by greedy least-cells elimination.

    Raises InputError where even so a table would exceed 2^27 cells (1 GiB).
    """
    cliques = tuple(tuple(clique) for clique in cliques)
    for clique in cliques:
        domain.shape(clique)
    tables = _eliminate(domain, cliques)
    largest = max((table.cells for table in tables), default=1)
    if largest > _MOST_CELLS:
        raise InputError(
            f"a model of these cliques needs a table of {largest} cells, the most is {_MOST_CELLS}",
            hint="measure fewer or smaller marginals, or declare coarser bins",
        )
    bags = _connect([table.columns(domain) for table in reversed(tables)])
    sets = [frozenset(bag.columns) for bag in bags]
    cells = [domain.cells(bag.columns) for bag in bags]
    home = tuple(
        min((i for i, columns in enumerate(sets) if columns.issuperset(clique)), key=cells.__getitem__)
        for clique in cliques
    )
    return JunctionTree(domain, cliques, bags, home)


def tree_cells(domain: Domain, cliques: Sequence[Clique], candidates: Sequence[Clique]) -> npt.NDArray[np.float64]:
    """For each candidate, how many cells the tables of a junction tree for `cliques` and it have in all.

    The eliminations of all candidates go on side by side: step by step what `_eliminate` does for one.
    """
    columns = len(domain.names)
    block = max(1, _ELIMINATED_AT_ONCE // columns**2)
    return np.concatenate(
        [np.zeros(0)]
        + [_tree_cells(domain, cliques, candidates[at : at + block]) for at in range(0, len(candidates), block)]
    )


def _tree_cells(domain: Domain, cliques: Sequence[Clique], candidates: Sequence[Clique]) -> npt.NDArray[np.float64]:
    sizes, every = np.array(domain.sizes, dtype=float), np.arange(len(candidates))
    # inside[c, i, j]: in candidate c's graph, columns i and j share a table, or i is j
    inside = np.stack([_adjacent(domain, [candidate]) for candidate in candidates]) | _adjacent(domain, cliques)
    cost = np.minimum(np.where(inside, sizes, 1.0).prod(axis=2), _INFEASIBLE)
    total = np.zeros(len(candidates))
    tables: list[npt.NDArray[np.bool_]] = []
    for _ in domain.names:
        column = cost.argmin(axis=1)
        table = inside[every, column]
        known = np.any([~(table & ~earlier).any(axis=1) for earlier in tables], axis=0) if tables else False
        total += np.where(known, 0.0, cost[every, column])
        tables.append(table)
        inside |= table[:, :, None] & table[:, None, :]
        inside[every, :, column] = False
        inside[every, column, :] = False
        cost = np.minimum(np.where(inside, sizes, 1.0).prod(axis=2), _INFEASIBLE)
        cost[~inside.any(axis=2)] = np.inf  # eliminated
    return total


def _adjacent(domain: Domain, cliques: Sequence[Clique]) -> npt.NDArray[np.bool_]:
    """Which two columns share a clique; each column is adjacent to itself."""
    adjacent = np.eye(len(domain.names), dtype=bool)
    for clique in cliques:
        columns = [domain.position[name] for name in clique]
        adjacent[np.ix_(columns, columns)] = True
    return adjacent


@dataclass(frozen=True)
class _Eliminated:
    """A table that an elimination sums over: the column eliminated, its neighbours then (a bit per column), its cells."""

    column: int
    neighbours: int
    cells: int

    def columns(self, domain: Domain) -> Clique:
        """The columns by name, the eliminated one first."""
        return (domain.names[self.column], *(domain.names[i] for i in _bits(self.neighbours)))


def _eliminate(domain: Domain, cliques: Sequence[Clique]) -> list[_Eliminated]:
    """The tables of a greedy least-cells elimination, in its order, less those inside an earlier one."""
    near, cost, waiting = _graph(domain, cliques), list(domain.sizes), list(range(len(domain.names)))
    for column, mask in enumerate(near):
        cost[column] *= math.prod(domain.sizes[i] for i in _bits(mask))
    tables: list[_Eliminated] = []
    while waiting:
        column = min(waiting, key=cost.__getitem__)
        waiting.remove(column)
        adjacent, bit = near[column], 1 << column
        if not any((adjacent | bit) & ~(table.neighbours | 1 << table.column) == 0 for table in tables):
            tables.append(_Eliminated(column, adjacent, cost[column]))
        if adjacent.bit_count() == len(waiting):
            break  # all that are left are inside this table
        for other in _bits(adjacent):
            added = adjacent & ~(near[other] | 1 << other)
            near[other] = (near[other] | added) & ~bit
            cost[other] = cost[other] // domain.sizes[column] * math.prod(domain.sizes[i] for i in _bits(added))
    return tables


def _graph(domain: Domain, cliques: Sequence[Clique]) -> list[int]:
    """Per column the others that it shares a clique with, a bit each."""
    near = [0] * len(domain.names)
    for clique in cliques:
        columns = [domain.position[name] for name in clique]
        mask = sum(1 << column for column in columns)
        for column in columns:
            near[column] |= mask
    return [mask & ~(1 << column) for column, mask in enumerate(near)]


def _bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def _connect(tables: list[Clique]) -> tuple[Bag, ...]:
    """Joins a chordal graph's maximal cliques, roots first, by a maximum-weight spanning forest (Jensen 1994)."""
    waiting = dict(enumerate(map(frozenset, tables)))
    # best[i]: the size of the largest overlap of table i with a placed bag, and that bag's number
    best: dict[int, tuple[int, int | None]] = dict.fromkeys(waiting, (0, None))
    placed: list[tuple[int, int | None]] = []
    while waiting:
        chosen = max(waiting, key=lambda i: best[i][0])
        placed.append((chosen, best[chosen][1]))
        columns = waiting.pop(chosen)
        for i, other in waiting.items():
            overlap = len(columns & other)
            if overlap > best[i][0]:
                best[i] = (overlap, len(placed) - 1)
    bags = []
    for i, parent in placed:
        above = frozenset() if parent is None else frozenset(tables[placed[parent][0]])
        shared = tuple(name for name in tables[i] if name in above)
        bags.append(Bag(shared, tuple(name for name in tables[i] if name not in above), parent))
    return tuple(bags)
