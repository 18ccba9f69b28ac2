"""MST: a differentially private synthesizer that measures a tree of two-way marginals (McKenna, Miklau & Sheldon 2021).

Three phases share one zCDP budget rho: noisy one-way marginals; a spanning tree of column pairs, edge by edge with the
exponential mechanism; noisy two-way marginals of the tree. The rest is post-processing of these and of the public
domain.

The privacy unit is a subject with up to k rows. Adding or removing one changes any marginal by a vector of non-negative
counts that sums to at most k, so both its L1 and its L2 sensitivity are k (all k rows can fall in one cell).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from workbench.generators.marginals.domain import Clique, Domain
from workbench.generators.marginals.estimate import Forbidden, estimate_total
from workbench.generators.marginals.fitted import Codes, FittedMarginals
from workbench.generators.marginals.forecast import Outlook
from workbench.generators.marginals.initial_measurements import measure_all, start
from workbench.generators.marginals.measurement_log import Notebook, Rows
from workbench.generators.marginals.model import GraphicalModel
from workbench.generators.marginals.privacy_cost import Priced
from workbench.progress import FitProgress, silent

# Shares of rho for one-way marginals and selection; the rest goes to two-way marginals. The paper's thirds gave a mean
# two-way TVD of 0.0436 on Adult (epsilon 1), these 0.0431 over 16 fits: a good tree is told apart from others by hundreds of
# rows, more than the noise of a fifth, and the two-ways measure the single columns once more.
_ONE_WAY = 0.2
_SELECTION = 0.2

# Scores are integers in units of 1/1024 row: a private count and a public estimate then differ exactly, and so does the
# bound on what a subject can change.
_UNITS = 1024


# Cells of a pair, at most: two columns of thousands of values each would be all noise, and gigabytes of it.
MOST_PAIR_CELLS = 2**22


@dataclass(frozen=True, kw_only=True)
class Mst(Priced):
    """The MST synthesizer; see `Priced` for what it guarantees."""

    def outlook(self, domain: Domain) -> Outlook:
        """What it will measure."""
        columns = len(domain.names)
        rho = _split(self.rho, columns)
        pairs = {"pairs of columns, about": rho.two_way / (columns - 1)} if columns > 1 else {}
        return Outlook(
            measurements={"single columns, about": rho.one_way / columns} | pairs,
            candidates=_measurable(domain),
        )

    def fit(
        self, rows: Rows, notebook: Notebook, *, forbidden: tuple[Forbidden, ...] = (), progress: FitProgress = silent
    ) -> FittedMarginals:
        """Fits the rows, learning of them through the notebook alone; raises InputError for codes outside the domain."""
        rho = _split(self.rho, len(rows.domain.names))
        progress(0.0, "measuring single columns")
        begun = start(rows, notebook, rho=rho.one_way, forbidden=forbidden)
        independent = begun.estimate((), total=begun.total)
        told = {"budget_spent": rho.one_way / self.rho, "misfit": independent.misfit}
        progress(0.1, "choosing pairs of columns", step=1, **told)
        edges = select_tree(begun.rows, independent, notebook, rho=rho.selection)
        progress(0.3, "measuring pairs of columns", step=2, budget_spent=(rho.one_way + rho.selection) / self.rho)
        pairs = measure_all(begun.rows, edges, notebook, rho=rho.two_way) if edges else []
        model = begun.estimate(
            pairs,
            total=estimate_total([*begun.ones, *pairs]),
            progress=lambda done, text: progress(0.5 + done / 2, text),
        )
        progress(1.0, "done", step=3, budget_spent=1.0, misfit=model.misfit)
        return begun.fitted(model)


@dataclass(frozen=True)
class _Budget:
    one_way: float
    selection: float
    two_way: float


def _split(rho: float, n_columns: int) -> _Budget:
    """What each phase may spend; a table of one column has no pairs to choose or measure."""
    if n_columns == 1:
        return _Budget(one_way=rho, selection=0.0, two_way=0.0)
    one_way, selection = rho * _ONE_WAY, rho * _SELECTION
    return _Budget(one_way=one_way, selection=selection, two_way=rho - one_way - selection)


def pair_scores(rows: Rows, independent: GraphicalModel, pairs: Sequence[Clique]) -> dict[Clique, int]:
    """For each of the pairs of columns the L1 distance of its counts from those expected under independence, in 1/1024 rows.

    Sensitivity: a score is ||M - E||_1, where M is the pair's table of counts and E comes from the model, which is
    public (it was made from noisy marginals). Adding a subject with k rows makes M into M + v with v >= 0 and ||v||_1
    <= k. By the triangle inequality | ||M + v - E||_1 - ||M - E||_1 | <= ||v||_1 <= k, so every score moves by at most
    1024 k units. This holds for any E fixed before the rows are read, and exactly, since all terms are integers. It
    would not hold for an E scaled to the table's own number of rows, which changes too (then 2k).
    """
    domain = independent.domain
    single = {name: independent.marginal((name,)) / independent.total for name in domain.names}
    scores: dict[Clique, int] = {}
    for (a, b), counted in zip(pairs, rows.counts(pairs), strict=True):
        expected = np.rint(_UNITS * independent.total * np.outer(single[a], single[b])).astype(np.int64)
        scores[a, b] = int(np.abs(_UNITS * counted - expected).sum())
    return scores


def select_tree(rows: Rows, independent: GraphicalModel, notebook: Notebook, *, rho: float) -> list[Clique]:
    """A spanning tree of column pairs with high scores, for `rho` in all (the paper's Algorithm 2).

    Each of the d - 1 rounds costs rho / (d - 1): the exponential mechanism picks one of the pairs that join two
    components. Where only pairs of too many cells are left, the components stay independent.
    """
    names, pairs = independent.domain.names, _measurable(independent.domain)
    known: dict[Clique, int] = {}

    def scores(candidates: Sequence[Clique]) -> Codes:
        if not known:  # not read where the notebook knows all choices
            known.update(pair_scores(rows, independent, pairs))
        return np.array([known[pair] for pair in candidates], dtype=np.int64)

    component = {name: name for name in names}
    edges: list[Clique] = []
    while candidates := [pair for pair in pairs if component[pair[0]] != component[pair[1]]]:
        chosen = notebook.choose(
            partial(scores, candidates),
            among=len(candidates),
            rho=rho / (len(names) - 1),
            sensitivity=_UNITS * rows.per_subject,
        )
        a, b = candidates[chosen]
        edges.append((a, b))
        joined, kept = component[b], component[a]
        component = {name: kept if label == joined else label for name, label in component.items()}
    return edges


def _measurable(domain: Domain) -> list[Clique]:
    return [pair for pair in combinations(domain.names, 2) if domain.cells(pair) <= MOST_PAIR_CELLS]
