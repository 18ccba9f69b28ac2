"""AIM: a differentially private synthesizer that measures what its model gets most wrong (McKenna et al. 2022).

After noisy single columns, each round picks with the exponential mechanism a pair or triple of columns whose counts the
model so far reproduces worst, measures it with noise, and fits the model again. Where a measurement taught nothing, the
next ones get twice the budget each (annealing), so the number of rounds adapts while the total cost is fixed beforehand.

The privacy unit is a subject with up to k rows; sensitivities are as in `mst`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from workbench.errors import InputError
from workbench.generators.marginals.domain import Clique, Domain
from workbench.generators.marginals.elimination import tree_cells
from workbench.generators.marginals.estimate import Forbidden, Measurement, estimate_total
from workbench.generators.marginals.fitted import Codes, FittedMarginals
from workbench.generators.marginals.forecast import MODEL_CELLS, Outlook
from workbench.generators.marginals.initial_measurements import Start, start
from workbench.generators.marginals.measurement_log import Notebook, Rows
from workbench.generators.marginals.model import GraphicalModel
from workbench.generators.marginals.privacy_cost import Priced
from workbench.privacy.mechanisms import gaussian_sigma
from workbench.progress import FitProgress, silent

# Shares of rho: of all for single columns, and of each round for choosing. Tried on Adult, epsilon 1: single columns 0.08 to
# 0.15, choosing 0.05 to 0.2, 4 to 16 rounds a column: mean two-way TVD between 0.0271 and 0.0282, which is within its noise.
_ONE_WAY = 0.15
_SELECTION = 0.1
ROUNDS_PER_COLUMN = 8
# Cells of a candidate, and how many candidates are scored each round.
_MOST_CANDIDATE_CELLS = 20_000
MOST_CANDIDATES = 5_000
# Descents of a round's fit: it begins where the one before ended.
_ROUND_ITERATIONS = 25
# Rows that a round's model draws, at most, to see what it expects.
_MOST_DRAWN = 2**14
# Scores are integers in units of 1/1024 row, as in MST.
_UNITS = 1024
_EXPECTED = math.sqrt(2 / math.pi)  # mean absolute value of a standard normal


@dataclass(frozen=True, kw_only=True)
class Aim(Priced):
    """The AIM synthesizer; see `Priced` for what it guarantees."""

    def outlook(self, domain: Domain) -> Outlook:
        """What it will measure; InputError for a table of so many columns that it has too many pairs."""
        columns = len(domain.names)
        several = columns > 1
        first = {"first rounds": first_round_rho(self.rho, columns)} if several else {}
        return Outlook(
            measurements={"single columns, about": self.rho * (_ONE_WAY if several else 1.0) / columns} | first,
            candidates=candidates_of(domain) if several else (),
            all_held=True,
            rounds=min(ROUNDS_PER_COLUMN * columns, 50),
        )

    def fit(
        self, rows: Rows, notebook: Notebook, *, forbidden: tuple[Forbidden, ...] = (), progress: FitProgress = silent
    ) -> FittedMarginals:
        """Fits the rows, learning of them through the notebook alone; raises InputError for codes outside the domain."""
        several = len(rows.domain.names) > 1
        progress(0.0, "measuring single columns")
        begun = start(rows, notebook, rho=self.rho * (_ONE_WAY if several else 1.0), forbidden=forbidden)
        measured = _rounds(begun, notebook, self.rho, progress) if several else []
        model = begun.estimate(
            [m for m, _ in measured],
            total=estimate_total([*begun.ones, *(m for m, _ in measured)]),
            start=measured[-1][1] if measured else None,
            progress=lambda done, text: progress(0.9 + done / 10, text),
        )
        progress(1.0, "done", step=len(measured) + 1, budget_spent=1.0, misfit=model.misfit)
        return begun.fitted(model)


def candidates_of(domain: Domain) -> list[Clique]:
    """The pairs and triples that may be measured: triples only where there are not too many, none of too many cells.

    Raises InputError for a table of so many columns that even its pairs are too many.
    """
    names = domain.names
    pairs: list[Clique] = list(combinations(names, 2))
    if len(pairs) > MOST_CANDIDATES:
        raise InputError(
            f"AIM chooses among pairs of columns, at most {MOST_CANDIDATES} of them; {len(names)} columns have {len(pairs)}",
            hint="generator: mst",
        )
    triples: list[Clique] = (
        list(combinations(names, 3)) if math.comb(len(names), 3) + len(pairs) <= MOST_CANDIDATES else []
    )
    return [c for c in (*pairs, *triples) if domain.cells(c) <= _MOST_CANDIDATE_CELLS] or pairs[:1]


def first_round_rho(rho: float, columns: int) -> float:
    """What the first round's measurement costs."""
    return (1 - _SELECTION) * rho * (1 - _ONE_WAY) / (ROUNDS_PER_COLUMN * columns)


def _rounds(
    begun: Start, notebook: Notebook, rho: float, progress: FitProgress
) -> list[tuple[Measurement, GraphicalModel]]:
    """Chooses and measures until the budget is spent; each measurement with the model after it."""
    rows, total = begun.rows, begun.total
    candidates = candidates_of(rows.domain)
    rows.expect(candidates)
    tables: dict[Clique, Codes] = {}  # counted when they are first scored, and never where all is noted
    model = begun.estimate((), total=total)
    measured: list[tuple[Measurement, GraphicalModel]] = []
    left = rho * (1 - _ONE_WAY)
    share = left / (ROUNDS_PER_COLUMN * len(rows.domain.names))
    while left > 1e-9 * rho:
        share = left if left < 2 * share else share
        known = [m for m, _ in measured]
        sigma = gaussian_sigma(rho=(1 - _SELECTION) * share, sensitivity=rows.per_subject) * len(rows.shards) ** 0.5
        # of all cells of the model's tables, a round may use a part in proportion to the budget spent by its end
        fits = _that_fit(begun, [m.clique for m in known], candidates, MODEL_CELLS * min(1.0, 1 - (left - share) / rho))
        scores = partial(_scores, fits, rows, tables, model, total, noise=sigma, seed=len(measured))
        chosen = notebook.choose(
            scores, among=len(fits), rho=_SELECTION * share, sensitivity=3 * _UNITS * rows.per_subject
        )
        m = notebook.measure(rows, fits[chosen], rho=(1 - _SELECTION) * share)
        before = model
        model = begun.estimate([*known, m], total=total, start=before, iterations=_ROUND_ITERATIONS, steps=1)
        measured.append((m, model))
        left -= share
        done = 1 - left / rho
        text = f"round {len(measured)}: {' x '.join(m.clique)}, {done:.0%} of the budget"
        progress(0.9 * done, text, step=len(measured), budget_spent=done, misfit=model.misfit)
        moved = float(np.abs(model.marginal(m.clique) - before.marginal(m.clique)).sum())
        if moved <= _EXPECTED * m.sigma * m.values.size:
            share *= 2
    return measured


def _that_fit(begun: Start, known: Sequence[Clique], candidates: Sequence[Clique], limit: float) -> list[Clique]:
    """Candidates with which the model's tables have at most `limit` cells, or which are in the model anyway."""
    taken = [*known, *(f.clique for f in begun.forbidden)]
    cells = tree_cells(begun.rows.domain, taken, candidates)
    inside = {c for c in candidates if any(set(c) <= set(clique) for clique in taken)}
    fits = [c for c, needed in zip(candidates, cells, strict=True) if needed <= limit or c in inside]
    return fits or [min(candidates, key=begun.rows.domain.cells)]


def _scores(
    candidates: Sequence[Clique],
    rows: Rows,
    tables: dict[Clique, Codes],
    model: GraphicalModel,
    total: float,
    *,
    noise: float,
    seed: int,
) -> Codes:
    """How much better than the model a noisy measurement would be: |r| (||M - E||_1 - expected noise), in 1/1024 rows.

    E is counted from rows that the model draws, so it is public and fixed before M is read; a subject with k rows moves
    ||M - E||_1 by at most k (see `mst.pair_scores`) and so a score by at most 3 k, as no candidate has more than 3 columns.
    |r| is the weight of a marginal of r columns where all triples count alike (the paper's w_r, up to a factor).
    """
    n = max(1, min(round(total), _MOST_DRAWN))
    drawn = model.sample(n, rng=np.random.default_rng(seed))
    new = [clique for clique in candidates if clique not in tables]
    tables |= zip(new, rows.counts(new), strict=True)
    scores = []
    for clique, count in zip(candidates, model.domain.counts(drawn, candidates), strict=True):
        expected = np.rint(count * (_UNITS * total / n)).astype(np.int64)
        distance = int(np.abs(_UNITS * tables[clique] - expected).sum())
        scores.append(len(clique) * (distance - round(_UNITS * _EXPECTED * noise * expected.size)))
    return np.array(scores, dtype=np.int64)
