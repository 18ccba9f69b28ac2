"""The model that explains noisy marginals best (private-PGM: McKenna, Sheldon & Miklau 2019), with a prior.

Over all distributions mu the problem is to minimise the misfit sum_i ||total mu_i - y_i||^2 / (2 sigma_i^2) plus
shrinkage total KL(mu || independent columns). Under the second term alone a table's counts scatter about independence as
drawn rows would (Sanov: a table has probability exp(-total KL)); real tables depart from it much further, by the factor
1 / shrinkage. Without a prior the fit reproduces the noise of every cell that it can.

The dual, with potentials theta, those of independent columns theta0 and ridge_i = shrinkage sigma_i^2 / total, is smooth:

    minimise  log Z(theta) - <theta, y / total> + sum_i ridge_i / 2 ||theta_i - theta0_i||^2;

its gradient mu(theta) - y / total + ridge (theta - theta0) costs one inference, and L-BFGS solves it. Where the ridge is so
small that this is ill-conditioned, as at a large epsilon, the solver takes proximal steps (implicit mirror descent): each
has a larger ridge and begins where the one before ended; k of them shrink about as much as a kth of their ridge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.generators.marginals.domain import Clique, Domain
from workbench.generators.marginals.elimination import JunctionTree, junction_tree
from workbench.generators.marginals.lbfgs import dot, minimise
from workbench.generators.marginals.model import GraphicalModel

Progress = Callable[[float, str], None]
Vector = npt.NDArray[np.float64]

# Measured on Adult at epsilon 1 (docs/adr/0004): mean two-way TVD 0.0277 without a prior, 0.0266 at 1/50 to 1/200.
SHRINKAGE = 0.01
# The least ridge of the median cell in one step: near the probability of a cell that matters, because a smaller one makes
# each step ill-conditioned and a larger one makes more steps necessary.
_RIDGE = 1e-4
_MOST_STEPS = 3
ITERATIONS = 150
# A step that improves the misfit by less than this share is the last.
_ENOUGH = 0.01
# A cell of this potential has probability zero beside any other, and no fit can lift it: a potential is at most 1 / ridge.
WALL = -1e8


@dataclass(frozen=True, eq=False)
class Forbidden:
    """Cells of a marginal that no row may be in (structural zeros), public by declaration: a mask in its shape."""

    clique: Clique
    cells: npt.NDArray[np.bool_]

    @property
    def potential(self) -> Vector:
        """What makes these cells impossible, and says nothing about the others."""
        return np.where(self.cells, WALL, 0.0)


@dataclass(frozen=True, eq=False)
class Measurement:
    """Noisy counts of one marginal, in the shape of the clique, with the standard deviation of their noise."""

    clique: Clique
    values: Vector
    sigma: float


def estimate_total(measurements: Sequence[Measurement]) -> float:
    """The number of rows, as the inverse-variance mean of the measurements' sums; at least 1.

    A sum of m noisy cells has variance m sigma^2. Post-processing: nothing but the measurements is read.
    """
    if not measurements:
        raise InputError(
            "a total cannot be estimated without measurements", hint="measure a marginal or give the total"
        )
    precision = np.array([1 / (m.values.size * m.sigma**2) for m in measurements])
    sums = np.array([float(m.values.sum()) for m in measurements])
    return max(1.0, float(precision @ sums / precision.sum()))


def estimate(
    domain: Domain,
    measurements: Sequence[Measurement],
    *,
    total: float | None = None,
    forbidden: Sequence[Forbidden] = (),
    start: GraphicalModel | None = None,
    shrinkage: float = SHRINKAGE,
    iterations: int = ITERATIONS,
    steps: int | None = None,
    progress: Progress | None = None,
) -> GraphicalModel:
    """The model whose marginals fit the measurements best, weighted by precision, given the prior; see above.

    Cliques may overlap, repeat, form cycles or leave columns out (those come out uniform and independent). `total` is
    estimated from the measurements where it is not given; `start` is a model to begin from, for example that of a round
    before; `shrinkage` 0 fits without a prior: of all best fits, the one of most entropy. `progress` is told a fraction done
    and what is being done. Raises InputError for a measurement of the wrong shape or not finite.
    """
    _check(domain, measurements)
    total = estimate_total(measurements) if total is None else total
    if not measurements:
        return GraphicalModel(domain, tuple(f.clique for f in forbidden), tuple(f.potential for f in forbidden), total)
    problem = _pose(domain, measurements, total, forbidden)
    ridge = problem.variance * shrinkage / total
    least = _RIDGE * problem.variance / np.median(problem.variance)
    steps = steps or _steps(ridge, least)
    theta = problem.independent if start is None else problem.potentials_of(start)
    anchor = problem.independent if np.median(ridge) >= np.median(least) else theta
    misfit = np.inf
    for step in range(steps):
        if progress is not None:
            progress(step / steps, f"fitting {len(problem.fitted)} marginals, step {step + 1} of at most {steps}")
        theta, mu = problem.step(theta, anchor, np.maximum(ridge, least), iterations)
        anchor = theta
        before, misfit = misfit, float(((mu - problem.target) ** 2 / problem.variance).sum())
        if misfit > (1 - _ENOUGH) * before:
            break
    rms = total * math.sqrt(misfit / problem.target.size)
    return GraphicalModel(domain, problem.tree.cliques, tuple(problem.split(theta)), total, rms)


def _steps(ridge: Vector, least: Vector) -> int:
    """How many steps of the least ridge shrink as little as one of the ridge asked for."""
    wanted = float(np.median(least) / max(float(np.median(ridge)), 1e-12))
    return int(min(_MOST_STEPS, max(1, round(wanted))))


@dataclass(frozen=True, eq=False)
class _Problem:
    """Consistent targets (as probabilities) over the cliques of a junction tree, flat; walls come after them."""

    tree: JunctionTree
    fitted: tuple[Measurement, ...]
    walls: tuple[Vector, ...]
    target: Vector
    variance: Vector

    @cached_property
    def independent(self) -> Vector:
        """Potentials of independent columns: those of the single columns that were measured; all others are zero."""
        total = max(float(self.fitted[0].values.sum()), 1.0)
        return np.concatenate(
            [
                (
                    np.log(np.maximum(m.values, m.sigma) / total) if m.values.ndim == 1 else np.zeros(m.values.size)
                ).ravel()
                for m in self.fitted
            ]
        )

    def potentials_of(self, model: GraphicalModel) -> Vector:
        """The potentials of a model as a place to start from; zero, or independent, where it has none."""
        # walls come last and may be on a measured clique: the first of a clique counts
        known = dict(reversed(list(zip(model.cliques, model.potentials, strict=True))))
        parts = self.split(self.independent)
        pairs = zip(self.fitted, parts, strict=False)
        return np.concatenate([known.get(m.clique, part).ravel() for m, part in pairs])

    def split(self, theta: Vector) -> list[Vector]:
        """The flat vector as one potential per clique, walls included."""
        ends = np.cumsum([m.values.size for m in self.fitted])
        parts = np.split(theta, ends[:-1])
        return [*(part.reshape(m.values.shape) for part, m in zip(parts, self.fitted, strict=True)), *self.walls]

    def infer(self, theta: Vector) -> tuple[float, Vector]:
        """log Z and the marginals of the measured cliques, flat."""
        log_z, tables = self.tree.marginals(self.split(theta))
        return log_z, np.concatenate([table.ravel() for table in tables[: len(self.fitted)]])

    def step(self, theta: Vector, anchor: Vector, ridge: Vector, iterations: int) -> tuple[Vector, Vector]:
        """Potentials that minimise the dual with this ridge about `anchor`, begun at `theta`, and their marginals."""
        # Curvature in a cell is about its probability plus the ridge: in units of its square root all cells are alike.
        likely = np.maximum(self.target, self.infer(theta)[1])
        scale = 1 / np.sqrt(likely + ridge)

        def dual(scaled: Vector) -> tuple[float, Vector]:
            at = scaled * scale
            log_z, mu = self.infer(at)
            move = at - anchor
            value = log_z - dot(at, self.target) + 0.5 * dot(ridge * move, move)
            return value, (mu - self.target + ridge * move) * scale

        found = scale * minimise(dual, theta / scale, iterations=iterations)
        return found, self.infer(found)[1]


def _pose(
    domain: Domain, measurements: Sequence[Measurement], total: float, forbidden: Sequence[Forbidden]
) -> _Problem:
    fitted = tuple(_consistent(_merge(domain, measurements), total))
    return _Problem(
        tree=junction_tree(domain, [*(m.clique for m in fitted), *(f.clique for f in forbidden)]),
        fitted=fitted,
        walls=tuple(f.potential for f in forbidden),
        target=np.concatenate([m.values.ravel() for m in fitted]) / total,
        variance=np.concatenate([np.full(m.values.size, m.sigma**2) for m in fitted]),
    )


def _check(domain: Domain, measurements: Sequence[Measurement]) -> None:
    for m in measurements:
        shape = domain.shape(m.clique)
        if m.values.shape != shape or not np.isfinite(m.values).all():
            raise InputError(f"a measurement of {m.clique} must be finite and of shape {shape}, found {m.values.shape}")
        if not (math.isfinite(m.sigma) and m.sigma > 0):
            raise InputError(f"the noise of the measurement of {m.clique} must be positive and finite, found {m.sigma}")


def _merge(domain: Domain, measurements: Sequence[Measurement]) -> list[Measurement]:
    """One measurement per set of columns: the inverse-variance mean of those that repeat it."""
    groups: dict[Clique, list[Measurement]] = {}
    for m in measurements:
        groups.setdefault(tuple(sorted(m.clique, key=domain.position.__getitem__)), []).append(m)
    merged = []
    for clique, same in groups.items():
        precision = np.array([m.sigma**-2 for m in same])
        values = [np.transpose(m.values, [m.clique.index(name) for name in clique]).astype(float) for m in same]
        merged.append(
            Measurement(
                clique, np.tensordot(precision / precision.sum(), values, axes=1), float(precision.sum() ** -0.5)
            )
        )
    return merged


def _consistent(measurements: list[Measurement], total: float) -> list[Measurement]:
    """The same least-squares problem with targets that agree on every shared marginal and sum to the total.

    A marginal is the sum of its effects: for each subset of its columns, the table over that subset, centred along each
    axis. Effects of one measurement have independent noise (Xiao et al. 2023, ResidualPlanner), so averaging each
    effect over the measurements that contain it, by precision, gives the generalised least-squares fit; the misfit of
    any distribution changes by a constant. Without this the solver spends its time on disagreements that no model can
    fit.
    """
    sums: dict[Clique, Vector] = {}
    precisions: dict[Clique, float] = {}
    for m in measurements:
        for axes in _subsets(m.values.ndim):
            effect, precision = _effect(m.values, axes), m.sigma**-2 / _rest(m.values.shape, axes)
            key = tuple(m.clique[i] for i in axes)
            sums[key] = sums.get(key, np.zeros(())) + precision * effect
            precisions[key] = precisions.get(key, 0.0) + precision
    sums[()] = np.array(total * precisions[()])
    agreed = []
    for m in measurements:
        values = np.zeros(m.values.shape)
        for axes in _subsets(values.ndim):
            key = tuple(m.clique[i] for i in axes)
            shape = [size if i in axes else 1 for i, size in enumerate(m.values.shape)]
            values += np.reshape(sums[key] / precisions[key], shape) / _rest(m.values.shape, axes)
        agreed.append(Measurement(m.clique, values, m.sigma))
    return agreed


def _subsets(n: int) -> list[tuple[int, ...]]:
    return [axes for size in range(n + 1) for axes in combinations(range(n), size)]


def _rest(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    """Cells of the columns outside `axes`."""
    return math.prod(size for i, size in enumerate(shape) if i not in axes)


def _effect(table: Vector, axes: tuple[int, ...]) -> Vector:
    """The table summed to `axes`, less its mean along each of them."""
    effect: Vector = table.sum(axis=tuple(i for i in range(table.ndim) if i not in axes))
    for axis in range(len(axes)):
        effect = effect - effect.mean(axis=axis, keepdims=True)
    return effect
