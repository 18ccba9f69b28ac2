"""A small network trained with differential privacy per subject (DP-SGD, Abadi et al. 2016; by Opacus).

One sample is one subject: the gradient of all their rows together is clipped, subjects are drawn by the system's secure
generator, and how many steps of which size are taken follows from declared numbers alone, so that a shard without a single
row is trained like any other. Noise is drawn anew each time and kept nowhere: no model can be replayed.

Not promised: noise that withstands attacks on floating-point numbers (as for dp_ctgan, docs/adr/0014).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from workbench.privacy.accounting import dpa
from workbench.privacy.calibration import least_noise, zcdp_rho
from workbench.sisa.learners.layers import answer, inputs_of, layers_of, targets_of
from workbench.sisa.learners.saved_network import load_network, save_network
from workbench.sisa.shard import Floats, Shard, Step
from workbench.sisa.task import Task


@dataclass(frozen=True, kw_only=True)
class DpMlp:
    """A network whose training is (epsilon, delta) differentially private per subject, add/remove.

    `subjects` is about how many a shard has: declared, never counted. `batch` is how many of them a step is expected to see.

    Guarantees:
      - training a shard costs `event`, to be charged to the shard's subjects before it, whatever its rows are
      - what it reads of the rows goes through Opacus: one gradient per subject, clipped as a whole, and noise in every step
    """

    hidden: tuple[int, ...]
    epochs: int
    batch: int
    learning_rate: float
    clip: float
    epsilon: float
    delta: float
    subjects: int

    def __post_init__(self) -> None:
        zcdp_rho(self.epsilon, self.delta)  # validates both

    @property
    def rate(self) -> float:
        """Each subject's chance of being in a step's batch."""
        return min(1.0, self.batch / self.subjects)

    @property
    def steps(self) -> int:
        """How many steps are taken, so that each subject is expected to be seen `epochs` times."""
        return math.ceil(self.epochs / self.rate)

    @property
    def noise(self) -> float:
        """The least noise multiplier (to 0.1 %) with which all steps cost at most epsilon."""
        return _noise(self.rate, self.steps, self.epsilon, self.delta)

    @property
    def event(self) -> dpa.DpEvent:
        """What training one shard costs."""
        return _event(self.rate, self.steps, self.noise)

    def train(self, shards: Sequence[Shard], *, task: Task) -> Iterator[Step]:
        """Trains each shard from nothing, in one slice; there is always a model, as its absence would tell of the rows."""
        from workbench.sisa.learners.dp_sgd import Bags, NoisySteps, train

        layers = layers_of(task, self.hidden)
        steps = NoisySteps(
            count=self.steps,
            rate=self.rate,
            noise=self.noise,
            clip=self.clip,
            learning_rate=self.learning_rate,
            expected=self.rate * self.subjects,
        )
        for shard in shards:
            inputs, targets = inputs_of(shard.features, task), targets_of(shard.target, task)
            bags = Bags(inputs, targets, shard.points, width=task.max_rows_per_subject)
            start = layers.start(len(task.columns) + 1, shard.seed_of(0))  # public: it is drawn before a row is read
            weights = train(start, layers, bags, steps, kind=task.kind)
            yield shard.number, shard.n_slices - 1, save_network({"weights": weights}, layers, steps=self.steps)

    def predict(self, model: bytes, features: Floats, *, task: Task) -> Floats:
        """Class probabilities [n, K], or predicted values [n, 1] for regression."""
        layers = layers_of(task, self.hidden)
        vectors, _ = load_network(model, layers, ("weights",))
        return answer(layers.outputs(vectors["weights"], inputs_of(features, task)), task)


def _event(rate: float, steps: int, noise: float) -> dpa.DpEvent:
    return dpa.SelfComposedDpEvent(dpa.PoissonSampledDpEvent(rate, dpa.GaussianDpEvent(noise)), steps)


@lru_cache(maxsize=64)  # pricing a sampled event takes a third of a second
def _noise(rate: float, steps: int, epsilon: float, delta: float) -> float:
    return least_noise(partial(_event, rate, steps), epsilon, delta)
