"""What every marginal generator begins with: noisy single columns, the number of rows, and the merging of rare cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workbench.generators.marginals.domain import Clique, Domain
from workbench.generators.marginals.estimate import Forbidden, Measurement, estimate, estimate_total
from workbench.generators.marginals.fitted import Codes, FittedMarginals, merge_rare, merged, shares_of
from workbench.generators.marginals.measurement_log import Notebook, Rows
from workbench.generators.marginals.model import GraphicalModel


@dataclass(frozen=True, eq=False)
class Start:
    """Rows of the smaller domain, with the single columns that were measured (`ones` of the full domain, `small` merged)."""

    rows: Rows
    full: Domain
    ones: tuple[Measurement, ...]
    small: tuple[Measurement, ...]
    groups: tuple[Codes, ...]
    forbidden: tuple[Forbidden, ...]

    @property
    def total(self) -> float:
        """The noisy number of rows."""
        return estimate_total(self.ones)

    def fitted(self, model: GraphicalModel) -> FittedMarginals:
        """The model of the smaller domain as one of the full domain."""
        shares = tuple(shares_of(m, group) for m, group in zip(self.ones, self.groups, strict=True))
        return FittedMarginals(domain=self.full, model=model, groups=self.groups, shares=shares)

    def estimate(self, others: Sequence[Measurement], **how: object) -> GraphicalModel:
        """The model of the single columns and `others`; see `marginals.estimate`."""
        return estimate(self.rows.domain, [*self.small, *others], forbidden=self.forbidden, **how)  # type: ignore[arg-type]


def start(rows: Rows, notebook: Notebook, *, rho: float, forbidden: Sequence[Forbidden] = ()) -> Start:
    """Measures every single column, for `rho` in all; columns of a `forbidden` marginal keep all their cells."""
    domain = rows.domain
    rows.check()
    ones = measure_all(rows, [(name,) for name in domain.names], notebook, rho=rho)
    kept = {name for f in forbidden for name in f.clique}
    groups = whole_groups(ones, kept)
    small = Domain(domain.names, tuple(int(group.max()) + 1 for group in groups))
    return Start(
        rows=rows.grouped(groups, small),
        full=domain,
        ones=tuple(ones),
        small=tuple(merged(m, group) for m, group in zip(ones, groups, strict=True)),
        groups=groups,
        forbidden=tuple(forbidden),
    )


def whole_groups(ones: Sequence[Measurement], kept: set[str]) -> tuple[Codes, ...]:
    """How the cells of each column are merged; those of the columns `kept` are not."""
    return tuple(merge_rare(m) if m.clique[0] not in kept else merge_none(m) for m in ones)


def merge_none(m: Measurement) -> Codes:
    """Every cell by itself."""
    return np.arange(m.values.size)


def measure_all(rows: Rows, cliques: Sequence[Clique], notebook: Notebook, *, rho: float) -> list[Measurement]:
    """Noisy marginals of `cliques`, which together cost `rho`.

    A marginal of m cells gets a share in proportion to m^(2/3): of all splits that cost the same it makes the expected
    total of absolute noise, sum_i m_i sigma_i, least (Lagrange: sigma_i in proportion to m_i^(-1/3)).
    """
    weights = np.array([rows.domain.cells(clique) ** (2 / 3) for clique in cliques])
    shares = weights / weights.sum()
    rows.expect(cliques)
    return [
        notebook.measure(rows, clique, rho=rho * float(share)) for clique, share in zip(cliques, shares, strict=True)
    ]
