"""What an ensemble and its constituents say of people they learnt from, and of people they did not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

import numpy as np
import numpy.typing as npt

from workbench.data.identity import Points
from workbench.metrics.forgetting import minus_squared_error, scaled_confidence, true_probability
from workbench.metrics.measure import NotComputableError

Floats = npt.NDArray[np.float64]
Shards = npt.NDArray[np.int64]

FEWEST = 20  # subjects on a side, below which an interval says nothing


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """n rows with their true `labels` [n], whose they are, and what was answered.

    `constituents` [n, S, K] are the probabilities by each of S constituents, `aggregate` [n, K] those of the ensemble; of a
    regression, values with K = 1.
    """

    constituents: Floats
    aggregate: Floats
    labels: Floats
    points: Points


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What is attacked: answers about members and about the holdout; `kind` is that of the task, `regression` or another.

    `shards` [n] are the places among the constituents of the members' own; all rows of a subject share one. `taught` is the
    number of subjects that the ensemble learnt from. Equal seeds give equal measures.
    """

    members: Asked
    holdout: Asked
    shards: Shards
    taught: int
    kind: str
    seed: int = 0

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of random numbers of its own for each purpose."""
        return np.random.default_rng([self.seed, crc32(purpose.encode())])

    @property
    def n_constituents(self) -> int:
        """How many constituents answered."""
        return int(self.members.constituents.shape[1])

    @cached_property
    def away(self) -> tuple[Floats, Floats]:
        """The mean confidence of constituents that never saw the row: of members, and of the holdout without one of them."""
        chosen = self.rng("left out").integers(0, self.n_constituents, len(self.holdout.labels))
        return _without(self.confidences(self.members), self.shards), _without(self.confidences(self.holdout), chosen)

    def confidences(self, asked: Asked) -> Floats:
        """How sure each constituent is of the truth [n, S]; see `confidence`."""
        each = [self.confidence(asked.constituents[:, s], asked.labels) for s in range(self.n_constituents)]
        return np.stack(each, axis=1)

    def confidence(self, answers: Floats, labels: Floats) -> Floats:
        """How sure answers [n, K] are of the truth [n]: its scaled log-odds, or minus the squared error of a value."""
        return minus_squared_error(answers, labels) if self.kind == "regression" else scaled_confidence(answers, labels)

    def probabilities(self, asked: Asked) -> Floats:
        """The probability of the truth by each constituent [n, S]; raises NotComputableError of a regression."""
        if self.kind == "regression":
            raise NotComputableError("not computable because a regression gives no probabilities")
        each = [true_probability(asked.constituents[:, s], asked.labels) for s in range(self.n_constituents)]
        return np.stack(each, axis=1)


def checked(answers: Answers) -> None:
    """Raises NotComputableError where a side has fewer than 20 subjects or an answer is no number."""
    for side in (answers.members, answers.holdout):
        if len(np.unique(side.points)) < FEWEST:
            raise NotComputableError(f"not computable because it needs {FEWEST} subjects on either side")
        if not (np.isfinite(side.aggregate).all() and np.isfinite(side.constituents).all()):
            raise NotComputableError("not computable because some answer is not a finite number")


def _without(confidences: Floats, left: Shards) -> Floats:
    own = np.take_along_axis(confidences, left[:, None], axis=1)[:, 0]
    others = confidences.shape[1] - 1
    if not others:
        raise NotComputableError("not computable because the ensemble has one constituent: nothing to compare it with")
    return np.asarray((confidences.sum(axis=1) - own) / others)
