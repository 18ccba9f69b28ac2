"""MST: a differentially private synthesizer that measures a tree of two-way marginals (McKenna, Miklau & Sheldon 2021).

Three phases share one zCDP budget rho: noisy one-way marginals; a spanning tree of column pairs, edge by edge with the
exponential mechanism; noisy two-way marginals of the tree. The rest is post-processing of these and of the public
domain.

The privacy unit is a subject with up to k rows. Adding or removing one changes any marginal by a vector of non-negative
counts that sums to at most k, so both its L1 and its L2 sensitivity are k (all k rows can fall in one cell).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from dp_accounting import ZCDpEvent
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.special import log_ndtr

from workbench.errors import InputError
from workbench.generators.marginals.domain import Clique, Domain
from workbench.generators.marginals.estimate import Measurement, estimate, estimate_total
from workbench.generators.marginals.model import GraphicalModel, draw_in_groups
from workbench.privacy.calibration import zcdp_rho
from workbench.privacy.mechanisms import choose, gaussian_counts, gaussian_sigma, selection_epsilon

Codes = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]
Progress = Callable[[float, str], None]

# Shares of rho for one-way marginals and selection; the rest goes to two-way marginals. The paper's thirds gave a mean
# two-way TVD of 0.0436 on Adult (epsilon 1), these 0.0431 over 16 fits: a good tree is told apart from others by hundreds of
# rows, more than the noise of a fifth, and the two-ways measure the single columns once more.
_ONE_WAY = 0.2
_SELECTION = 0.2

# Cells with a noisy count under this many standard deviations are merged (the paper's compression, there 3). At 2 the rare
# values that tell most about a person, such as large capital gains, survive; at 0 fits take longer and gain nothing.
_RARE = 2.0

# Scores are integers in units of 1/1024 row: a private count and a public estimate then differ exactly, and so does the
# bound on what a subject can change.
_UNITS = 1024

_FORMAT = "workbench-mst-1"


@dataclass(frozen=True, kw_only=True)
class Mst:
    """The MST synthesizer at (epsilon, delta) per subject, add/remove.

    Guarantees:
      - fit costs `event`, whatever the data; it reads nothing but codes and their public domain
      - the number of rows is private: what `FittedMst.total` holds is a noisy one
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        zcdp_rho(self.epsilon, self.delta)

    @cached_property
    def rho(self) -> float:
        """The zCDP budget of one fit."""
        return zcdp_rho(self.epsilon, self.delta)

    @property
    def event(self) -> ZCDpEvent:
        """What one fit costs, to be charged before it."""
        return ZCDpEvent(self.rho)

    def fit(
        self, records: Codes, domain: Domain, *, max_rows_per_subject: int, progress: Progress | None = None
    ) -> FittedMst:
        """Fits codes [n, d] of `domain` in which no subject has more than `max_rows_per_subject` rows.

        The caller bounds the rows per subject; nothing here can see subjects. n may be 0. `progress` is told a fraction
        and a text. Raises InputError for codes outside the domain.
        """
        domain.check(records)
        tell = progress or _tell_nobody
        k = max_rows_per_subject
        rho = _split(self.rho, len(domain.names))

        tell(0.0, "measuring single columns")
        ones = measure(records, domain, [(name,) for name in domain.names], rho=rho.one_way, sensitivity=k)
        total = estimate_total(ones)
        groups = tuple(_merge_rare(m) for m in ones)
        small = Domain(domain.names, tuple(int(group.max()) + 1 for group in groups))
        small_ones = [_merged(m, group) for m, group in zip(ones, groups, strict=True)]
        compressed = np.stack([group[codes] for group, codes in zip(groups, records.T, strict=True)], axis=1)

        tell(0.1, "choosing pairs of columns")
        independent = estimate(small, small_ones, total=total)
        edges = select_tree(compressed, independent, rho=rho.selection, sensitivity=k)

        tell(0.3, "measuring pairs of columns")
        pairs = measure(compressed, small, edges, rho=rho.two_way, sensitivity=k) if edges else []
        model = estimate(
            small,
            [*small_ones, *pairs],
            total=estimate_total([*ones, *pairs]),
            progress=lambda done, text: tell(0.5 + done / 2, text),
        )
        shares = tuple(_shares(m, group) for m, group in zip(ones, groups, strict=True))
        tell(1.0, "done")
        return FittedMst(domain=domain, model=model, groups=groups, shares=shares)


def _tell_nobody(_fraction: float, _text: str) -> None:
    return None


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


def measure(
    records: Codes, domain: Domain, cliques: Sequence[Clique], *, rho: float, sensitivity: int
) -> list[Measurement]:
    """Noisy marginals of `cliques`, which together cost `rho`; `sensitivity` is the most rows of one subject.

    A marginal of m cells gets a share in proportion to m^(2/3): of all splits that cost the same it makes the expected
    total of absolute noise, sum_i m_i sigma_i, least (Lagrange: sigma_i in proportion to m_i^(-1/3)).
    """
    weights = np.array([domain.cells(clique) ** (2 / 3) for clique in cliques])
    measurements = []
    for clique, share in zip(cliques, weights / weights.sum(), strict=True):
        sigma = gaussian_sigma(rho=rho * float(share), sensitivity=sensitivity)
        noisy = gaussian_counts(domain.count(records, clique), sigma=sigma)
        measurements.append(Measurement(clique, noisy.astype(np.float64), sigma))
    return measurements


def pair_scores(records: Codes, independent: GraphicalModel) -> dict[Clique, int]:
    """For each pair of columns the L1 distance of its counts from those expected under independence, in 1/1024 rows.

    Sensitivity: a score is ||M - E||_1, where M is the pair's table of counts and E comes from the model, which is
    public (it was made from noisy marginals). Adding a subject with k rows makes M into M + v with v >= 0 and ||v||_1
    <= k. By the triangle inequality | ||M + v - E||_1 - ||M - E||_1 | <= ||v||_1 <= k, so every score moves by at most
    1024 k units. This holds for any E fixed before the rows are read, and exactly, since all terms are integers. It
    would not hold for an E scaled to the table's own number of rows, which changes too (then 2k).
    """
    domain = independent.domain
    single = {name: independent.marginal((name,)) / independent.total for name in domain.names}
    scores: dict[Clique, int] = {}
    for a, b in combinations(domain.names, 2):
        expected = np.rint(_UNITS * independent.total * np.outer(single[a], single[b])).astype(np.int64)
        scores[a, b] = int(np.abs(_UNITS * domain.count(records, (a, b)) - expected).sum())
    return scores


def select_tree(records: Codes, independent: GraphicalModel, *, rho: float, sensitivity: int) -> list[Clique]:
    """A spanning tree of column pairs with high scores, for `rho` in all (the paper's Algorithm 2).

    Each of the d - 1 rounds costs rho / (d - 1): the exponential mechanism picks one of the pairs that join two
    components.
    """
    names = independent.domain.names
    if len(names) == 1:
        return []
    epsilon = selection_epsilon(rho=rho / (len(names) - 1))
    scores = pair_scores(records, independent)
    component = {name: name for name in names}
    edges: list[Clique] = []
    while len(edges) < len(names) - 1:
        candidates = [pair for pair in scores if component[pair[0]] != component[pair[1]]]
        offered = np.array([scores[pair] for pair in candidates], dtype=np.int64)
        a, b = candidates[choose(offered, epsilon=epsilon, sensitivity=_UNITS * sensitivity)]
        edges.append((a, b))
        joined, kept = component[b], component[a]
        component = {name: kept if label == joined else label for name, label in component.items()}
    return edges


def _merge_rare(m: Measurement) -> Codes:
    """For each cell of a noisy one-way marginal its cell in a smaller domain, where all rare cells are the last one."""
    rare = m.values < _RARE * m.sigma
    group = np.cumsum(~rare) - 1
    group[rare] = group.max() + 1
    return group if rare.sum() > 1 else np.arange(len(group))


def _merged(m: Measurement, group: Codes) -> Measurement:
    """The measurement of the smaller domain; that a merged cell is noisier is left out, as a marginal has one sigma."""
    return Measurement(m.clique, np.bincount(group, weights=m.values).astype(np.float64), m.sigma)


def _shares(m: Measurement, group: Codes) -> Shares:
    """Each cell's share of its merged cell: in proportion to the mean of a non-negative count, given the noisy one.

    The mean of a normal of mean y and scale sigma truncated at zero: y + sigma phi(y / sigma) / Phi(y / sigma).
    """
    z = m.values / m.sigma
    expected = z + np.exp(-(z**2) / 2 - log_ndtr(z)) / math.sqrt(2 * math.pi)
    shares: Shares = expected / np.bincount(group, weights=expected)[group]
    return shares


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedMst:
    """A fitted MST: a tree model over merged cells, and how merged cells split. It holds noisy and public values only.

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
            raise InputError("a fitted MST needs one group table and one share table per column of its domain")
        for name, size, small, group, share in zip(*parts, strict=True):
            _check_groups(name, size, small, group, share)

    @property
    def total(self) -> float:
        """The noisy number of rows."""
        return self.model.total

    def sample(self, n: int | None = None, *, rng: np.random.Generator) -> Codes:
        """`n` rows of codes [n, d] of the domain; the noisy number of rows, at least 1, where n is not given."""
        rows = self.model.sample(max(1, round(self.total)) if n is None else n, rng=rng)
        for column, (group, shares) in enumerate(zip(self.groups, self.shares, strict=True)):
            rows[:, column] = _expand(rows[:, column], group, shares, rng=rng)
        return rows

    def save(self, folder: Path) -> None:
        """Writes mst.json and mst.safetensors into an existing folder."""
        description = {
            "format": _FORMAT,
            "names": self.domain.names,
            "sizes": self.domain.sizes,
            "cliques": self.model.cliques,
            "total": self.total,
        }
        (folder / "mst.json").write_text(json.dumps(description, sort_keys=True, indent=1), encoding="utf-8")
        named = {"potential": self.model.potentials, "group": self.groups, "shares": self.shares}
        arrays = {f"{kind}.{i}": np.ascontiguousarray(a) for kind, parts in named.items() for i, a in enumerate(parts)}
        save_file(arrays, folder / "mst.safetensors")


def load_mst(folder: Path) -> FittedMst:
    """The fitted MST that `save` wrote into `folder`; raises InputError where a file is missing or corrupt."""
    try:
        description = json.loads((folder / "mst.json").read_text(encoding="utf-8"))
        arrays = load_file(folder / "mst.safetensors")
        return _assemble(description, arrays)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise InputError(
            f"{folder} holds no readable MST model: {type(error).__name__}", hint="fit the generator again"
        ) from error


def _assemble(description: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> FittedMst:
    if description["format"] != _FORMAT:
        raise InputError(f"an MST model of format {_FORMAT} is needed, found {description['format']!r}")
    domain = Domain(tuple(description["names"]), tuple(description["sizes"]))
    cliques = tuple(tuple(clique) for clique in description["cliques"])
    columns = range(len(domain.names))
    if len(arrays) != len(cliques) + 2 * len(columns):
        raise InputError(f"an MST model of {len(cliques)} cliques and {len(columns)} columns has {len(arrays)} arrays")
    groups = tuple(arrays[f"group.{i}"] for i in columns)
    small = Domain(domain.names, tuple(int(group.max()) + 1 for group in groups))
    potentials = tuple(arrays[f"potential.{i}"] for i in range(len(cliques)))
    model = GraphicalModel(small, cliques, potentials, description["total"])
    return FittedMst(domain=domain, model=model, groups=groups, shares=tuple(arrays[f"shares.{i}"] for i in columns))


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
