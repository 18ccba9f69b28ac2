"""The maximum-entropy model that fits noisy marginals best (private-PGM: McKenna, Sheldon & Miklau 2019).

The problem is: over all distributions mu, minimise the misfit sum_i ||total mu_i - y_i||^2 / (2 sigma_i^2). It is
solved by proximal steps (implicit mirror descent), each of which adds tau KL(mu || previous mu) and so is strongly
convex. The dual of a step, with potentials theta, ridge_i = tau sigma_i^2 / total^2 and the previous theta' is smooth
and cheap:

    minimise  log Z(theta) - <theta, y / total> + sum_i ridge_i / 2 ||theta_i - theta'_i||^2;

its gradient mu(theta) - y / total + ridge (theta - theta') costs one inference, and L-BFGS solves it. Starting from
potentials zero, the limit has the most entropy among the best fits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError
from workbench.generators.marginals.domain import Clique, Domain
from workbench.generators.marginals.elimination import JunctionTree, junction_tree
from workbench.generators.marginals.minimise import minimise
from workbench.generators.marginals.model import GraphicalModel

Progress = Callable[[float, str], None]
Vector = npt.NDArray[np.float64]

# Measured on Adult (docs/adr/0004). The ridge of the median cell: near the probability of a cell that matters, because
# a smaller one makes each step ill-conditioned and a larger one makes more steps necessary.
_RIDGE = 1e-3
_MOST_STEPS = 12
_MOST_ITERATIONS = 50
# A step that improves the misfit by less than this share is the last.
_ENOUGH = 0.01


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
    progress: Progress | None = None,
) -> GraphicalModel:
    """The model whose marginals fit the measurements best, weighted by precision; of all such the one of most entropy.

    Cliques may overlap, repeat, form cycles or leave columns out (those come out uniform and independent). `total` is
    estimated from the measurements where it is not given. `progress` is told a fraction done and what is being done.
    Raises InputError for a measurement of the wrong shape or not finite.
    """
    _check(domain, measurements)
    total = estimate_total(measurements) if total is None else total
    if not measurements:
        return GraphicalModel(domain, (), (), total)
    fitted = _consistent(_merge(domain, measurements), total)
    tree = junction_tree(domain, [m.clique for m in fitted])
    target = np.concatenate([m.values.ravel() for m in fitted]) / total
    variance = np.concatenate([np.full(m.values.size, m.sigma**2) for m in fitted])
    ridge = _RIDGE * variance / np.median(variance)
    theta, misfit = np.zeros_like(target), np.inf
    for step in range(_MOST_STEPS):
        if progress is not None:
            progress(step / _MOST_STEPS, f"fitting {len(fitted)} marginals, step {step + 1} of at most {_MOST_STEPS}")
        theta, mu = _proximal_step(tree, target, ridge, theta)
        before, misfit = misfit, float(((mu - target) ** 2 / variance).sum())
        if misfit > (1 - _ENOUGH) * before:
            break
    return GraphicalModel(domain, tree.cliques, tuple(_split(tree, theta)), total)


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


def _proximal_step(tree: JunctionTree, target: Vector, ridge: Vector, anchor: Vector) -> tuple[Vector, Vector]:
    """Potentials that minimise the dual of one proximal step, and their marginals."""
    # Curvature in a cell is about its probability plus the ridge: in units of its square root all cells are alike.
    likely = np.maximum(target, _infer(tree, anchor)[1])
    scale = 1 / np.sqrt(likely + ridge)

    def dual(scaled: Vector) -> tuple[float, Vector]:
        theta = scaled * scale
        log_z, mu = _infer(tree, theta)
        move = theta - anchor
        value = log_z - float(theta @ target) + 0.5 * float((ridge * move) @ move)
        return value, (mu - target + ridge * move) * scale

    theta = scale * minimise(dual, anchor / scale, iterations=_MOST_ITERATIONS)
    return theta, _infer(tree, theta)[1]


def _infer(tree: JunctionTree, theta: Vector) -> tuple[float, Vector]:
    log_z, tables = tree.marginals(_split(tree, theta))
    return log_z, np.concatenate([table.ravel() for table in tables])


def _split(tree: JunctionTree, theta: Vector) -> list[Vector]:
    """The flat vector as one potential per clique."""
    ends = np.cumsum([tree.domain.cells(clique) for clique in tree.cliques])
    parts = np.split(theta, ends[:-1])
    return [part.reshape(tree.domain.shape(clique)) for part, clique in zip(parts, tree.cliques, strict=True)]
