"""The steps of DP-SGD on a small network: the only place of the private learner that sees a row (torch, Opacus)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from opacus.grad_sample import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import nn
from torch.nn import functional

from workbench.data.identity import Points
from workbench.privacy.sampling import poisson_sample, stir
from workbench.sisa.learners.design import Vectors
from workbench.sisa.learners.layers import Layers
from workbench.sisa.learners.vectorised_training import pinned

_AT_ONCE = 2**13  # rows whose gradients are held at once, to bound memory


class Bags:
    """Rows by subject, each subject's padded to `width` rows; of more than that (none, as declared) the first."""

    def __init__(self, inputs: Vectors, targets: Vectors, points: Points, *, width: int) -> None:
        order = np.argsort(points, kind="stable")
        _, self._starts, counts = np.unique(points[order], return_index=True, return_counts=True)
        self._counts = np.minimum(counts, width)
        nobody = np.zeros((1, inputs.shape[1]), dtype=np.float32), np.zeros((1, targets.shape[1]), dtype=np.float32)
        self._inputs = torch.from_numpy(np.concatenate([inputs[order], nobody[0]]))
        self._targets = torch.from_numpy(np.concatenate([targets[order], nobody[1]]))
        self.width = width

    def __len__(self) -> int:
        return len(self._starts)

    def of(self, subjects: npt.NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Inputs and targets [subjects + 1, width, ...] and each row's share of its subject's loss [subjects + 1, width].

        The last bag is empty, as a whole batch may be.
        """
        starts, counts = np.append(self._starts[subjects], 0), np.append(self._counts[subjects], 0)
        there = np.arange(self.width) < counts[:, None]
        places = np.where(there, starts[:, None] + np.arange(self.width), len(self._inputs) - 1)
        shares = there / np.maximum(counts, 1)[:, None]
        rows = torch.from_numpy(places)
        return self._inputs[rows], self._targets[rows], torch.from_numpy(shares).float()


@dataclass(frozen=True, kw_only=True)
class NoisySteps:
    """What is fixed before a row is read: how many steps, who may be in them, and how they are bounded and noised.

    `expected` is how many subjects a batch is expected to have: sums of gradients are divided by it.
    """

    count: int
    rate: float
    noise: float
    clip: float
    learning_rate: float
    expected: float


class _Network(nn.Module):
    """The network of `Layers`, as Opacus differentiates it: layers without offsets, the first hidden units always 1."""

    def __init__(self, start: Vectors, layers: Layers) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inputs, units, bias=False) for inputs, units in pairwise(layers.widths))
        for layer, (matrix,) in zip(self.layers, layers.matrices(start[None]), strict=True):
            layer.weight.data = torch.from_numpy(matrix.T.copy())

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Outputs [subjects, rows, outputs]."""
        *hidden, last = list(self.layers)
        for layer in hidden:
            values = torch.relu(layer(values))
            values = torch.cat([torch.ones_like(values[..., :1]), values[..., 1:]], dim=-1)
        outputs: torch.Tensor = last(values)
        return outputs

    def weights(self, layers: Layers) -> Vectors:
        """The weights as one vector."""
        vector = np.zeros((1, layers.size), dtype=np.float32)
        for weight, (matrix,) in zip(self.parameters(), layers.matrices(vector), strict=True):
            matrix[:] = weight.detach().numpy().T
        return np.asarray(vector[0])


def train(start: Vectors, layers: Layers, bags: Bags, steps: NoisySteps, *, kind: str) -> Vectors:
    """The weights after all steps; what the loss was is told to nobody."""
    network, noise = _Network(start, layers), torch.Generator()
    module = GradSampleModule(network, loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.Adam(network.parameters(), lr=steps.learning_rate),
        noise_multiplier=steps.noise,
        max_grad_norm=steps.clip,
        expected_batch_size=steps.expected,
        generator=noise,
    )
    with pinned():
        for _ in range(steps.count):
            stir(noise)
            _step(module, optimizer, bags, poisson_sample(len(bags), steps.rate), kind)
    return network.weights(layers)


def _step(
    module: GradSampleModule, optimizer: DPOptimizer, bags: Bags, subjects: npt.NDArray[np.int64], kind: str
) -> None:
    """One step on these subjects, in parts where they are many: clipped each, summed, noised once."""
    at_once = max(1, _AT_ONCE // bags.width)
    parts = range(0, max(1, len(subjects)), at_once)
    for first in parts:
        optimizer.signal_skip_step(first != parts[-1])
        _differentiate(module, bags, subjects[first : first + at_once], kind)
        optimizer.step()
        optimizer.zero_grad()


def _differentiate(module: GradSampleModule, bags: Bags, subjects: npt.NDArray[np.int64], kind: str) -> None:
    """Leaves each subject's gradient with the weights: that of the mean loss of their rows."""
    inputs, targets, shares = bags.of(subjects)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Opacus's hooks on inputs that need no gradient
        torch.autograd.backward((_loss(module(inputs), targets, kind) * shares).sum())


def _loss(outputs: torch.Tensor, targets: torch.Tensor, kind: str) -> torch.Tensor:
    """Each row's loss [subjects, rows]."""
    if kind == "multiclass":
        return -(torch.log_softmax(outputs, dim=-1) * targets).sum(dim=-1)
    first, wanted = outputs[..., 0], targets[..., 0]
    if kind == "binary":
        return functional.binary_cross_entropy_with_logits(first, wanted, reduction="none")
    return (first - wanted) ** 2 / 2
