"""Counting many marginals of a stream of codes in one pass: in few tables of more columns, of which the marginals are sums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.generators.marginals.domain import Clique, Domain

# Cells of a table that marginals are sums of: more are covered by a larger one, and each row then misses the cache.
_MOST_CELLS = 2**15
_MOST_COLUMNS = 64  # of a domain whose marginals are put together: sets of columns are bits of an integer

Counts = npt.NDArray[np.int64]


def count_blocks(domain: Domain, blocks: Iterable[Counts], cliques: Sequence[Clique]) -> list[Counts]:
    """Return the marginal of each clique over blocks of codes [n, d]."""
    covers = cover(domain, cliques)
    tables = {clique: np.zeros(domain.cells(clique), dtype=np.int64) for clique in covers}
    for block in blocks:
        domain.check(block)
        columns = {kind: block.T.astype(kind, order="C") for kind in {_kind(table.size) for table in tables.values()}}
        for clique, table in tables.items():
            table += np.bincount(_cells(domain, columns[_kind(table.size)], clique), minlength=table.size)
    summed: list[Counts] = []
    for clique in cliques:
        of = next(c for c in covers if set(clique) <= set(c))
        others = tuple(axis for axis, name in enumerate(of) if name not in clique)
        left = [name for name in of if name in clique]
        table = tables[of].reshape(domain.shape(of)).sum(axis=others)
        summed.append(table.transpose([left.index(name) for name in clique]))
    return summed


def _kind(cells: int) -> type[np.unsignedinteger[Any]] | type[np.int64]:
    """Return the type that numbers so many cells: the narrowest is by far the fastest."""
    return np.uint16 if cells < 1 << 16 else np.int64


def _cells(domain: Domain, columns: npt.NDArray[Any], clique: Clique) -> npt.NDArray[Any]:
    """Return the cell of a marginal that each record is in, of columns [d, n]."""
    cell: npt.NDArray[Any] = columns[domain.position[clique[0]]].copy()
    for name in clique[1:]:
        place = domain.position[name]
        cell *= columns.dtype.type(domain.sizes[place])
        cell += columns[place]
    return cell


def cover(domain: Domain, cliques: Sequence[Clique]) -> list[Clique]:
    """Return sets of columns, in few tables, so that each clique is within one of them; greedily, column by column."""
    if len(domain.names) > _MOST_COLUMNS:
        return list(dict.fromkeys(cliques))
    bit = {name: np.uint64(1 << place) for place, name in enumerate(domain.names)}
    masks = np.array([sum(int(bit[name]) for name in clique) for clique in cliques], dtype=np.uint64)
    left, covers = np.ones(len(cliques), dtype=bool), []
    for clique in sorted(cliques, key=lambda c: (-len(c), -domain.cells(c))):
        own = np.uint64(sum(int(bit[name]) for name in clique))
        if not (left & (masks == own)).any():
            continue
        chosen, taken = list(clique), own
        cells = domain.cells(clique)
        while True:
            gains = [
                (int((left & ((masks & ~(taken | bit[name])) == 0)).sum()), name)
                for name, size in zip(domain.names, domain.sizes, strict=True)
                if name not in chosen and cells * size <= _MOST_CELLS
            ]
            now = int((left & ((masks & ~taken) == 0)).sum())
            best = max(gains, default=(0, ""), key=lambda gain: gain[0])
            if best[0] <= now:
                break
            chosen.append(best[1])
            taken |= bit[best[1]]
            cells *= domain.sizes[domain.position[best[1]]]
        left &= (masks & ~taken) != 0
        covers.append(tuple(name for name in domain.names if name in chosen))
    return sorted(covers, key=lambda c: [domain.position[name] for name in c])
