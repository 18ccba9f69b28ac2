"""DP-CTGAN's two networks and their training; the discriminator's steps are the only ones that see a row.

The discriminator is a quadratic form on one-hot rows: one weight for each pair of cells of two columns and one for each
cell. What it thinks of a row whose columns are independent it thinks of their chances, exactly: so the generator learns
from its softmax outputs without relaxing the draw, and few parameters carry most of what noise leaves visible.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPTensorFastGradientClipping
from torch import nn
from torch.nn.functional import kl_div, one_hot, relu, softmax, softplus

from workbench.privacy.sampling import poisson_sample, stir

Array = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int64]

NOISE = 64  # normal inputs of the generator; the others are cells drawn column by column
WIDTH = 256
# An undecided discriminator's gradient for one row has this norm: rows are scaled to norm 1, and its answer is 1/2.
CLIP = 0.5
# How fast the discriminator learns and forgets. Tried on Adult, see docs/adr/0014-dp-ctgan.md.
_LEARNING_RATE, _FORGETTING = 8.0, 0.01
_GENERATOR_RATE, _GENERATOR_STEPS, _GENERATOR_ROWS = 4e-3, 5, 500
_AVERAGING = 0.95  # of the generator's weights, over its steps
_ROWS_AT_ONCE = 2**15  # of a large batch, to bound memory


@dataclass(frozen=True, eq=False)
class Bags:
    """Rows by subject: `codes` [n, c] sorted by subject; subject i has `counts[i]` rows from `starts[i]` on."""

    codes: Codes
    starts: Codes
    counts: Codes
    sizes: tuple[int, ...]

    def sampled(self, rate: float) -> Codes:
        """Subjects, each of them taken with probability `rate` by the system's secure generator."""
        return poisson_sample(len(self.starts), rate)

    def rows(self, subjects: Codes, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One-hot rows [subjects + 1, width, cells] and which there are; the last bag is empty, as a whole batch may be."""
        places = np.arange(width) + np.append(self.starts[subjects], 0)[:, None]
        there = np.arange(width) < np.append(self.counts[subjects], 0)[:, None]
        hot = torch.zeros(*there.shape, sum(self.sizes))
        hot[torch.from_numpy(there)] = hot_rows(torch.from_numpy(self.codes[places[there]]), self.sizes)
        return hot, torch.from_numpy(there).float()


def hot_rows(codes: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """One-hot rows [n, cells] of codes [n, columns]."""
    return torch.cat([one_hot(codes[:, i], size) for i, size in enumerate(sizes)], dim=1).float()


def drawn_rows(chances: torch.Tensor, sizes: Sequence[int], rng: torch.Generator) -> torch.Tensor:
    """One-hot rows drawn from chances [n, cells], column by column."""
    parts = torch.split(chances, list(sizes), dim=1)
    return hot_rows(torch.cat([torch.multinomial(part, 1, generator=rng) for part in parts], dim=1), sizes)


class Discriminator(nn.Module):
    """x' W x for one-hot rows x, scaled to norm 1: a sum over pairs of cells, and over cells on the diagonal."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        cells, block = sum(sizes), torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        self.pairs = nn.Linear(cells, cells, bias=False)
        nn.init.zeros_(self.pairs.weight)
        self.scale = len(sizes) ** -0.5
        self.apart = (block[:, None] != block[None, :]).float()  # no buffer: Opacus takes none

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """The logit of being real, of each row."""
        scaled = rows * self.scale
        logits: torch.Tensor = (self.pairs(scaled) * scaled).sum(dim=-1)
        return logits

    def expected(self, chances: torch.Tensor) -> torch.Tensor:
        """The mean logit of rows whose columns are drawn independently with these chances."""
        weight, scaled = self.pairs.weight.detach(), chances * self.scale
        pairs = ((scaled @ (weight * self.apart).T) * scaled).sum(dim=-1)
        logits: torch.Tensor = pairs + scaled @ weight.diagonal() * self.scale
        return logits


class Generator(nn.Module):
    """Chances of every column's cells, given normal noise and cells drawn from the noisy single columns.

    It begins as independent columns.
    """

    def __init__(self, start: torch.Tensor) -> None:
        super().__init__()
        inputs = NOISE + len(start)
        self.first = nn.Linear(inputs, WIDTH)
        self.second = nn.Linear(WIDTH + inputs, WIDTH)
        self.last = nn.Linear(WIDTH, len(start))
        nn.init.normal_(self.last.weight, std=0.01)
        self.last.bias.data = start.log()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits [n, cells]."""
        hidden = relu(self.first(inputs))
        logits: torch.Tensor = self.last(relu(self.second(torch.cat([hidden, inputs], dim=1))))
        return logits


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The discriminator's steps, fixed before a row is read: what dp-accounting prices."""

    count: int
    rate: float
    noise: float


def train(
    bags: Bags,
    steps: Steps,
    shares: Sequence[npt.NDArray[np.float64]],
    *,
    subjects: float,
    rows_each: float,
    width: int,
    told: Callable[[int, float], None],
) -> dict[str, Array]:
    """The generator's weights after all steps; `told` hears how many are done, and the generator's loss.

    `shares`, `subjects` and `rows_each` (single columns, how many subjects, rows of each) are noisy or public. All that is
    read of `bags` goes through Opacus: a subject's rows give one gradient, clipped as a whole, and every step has noise. The
    generator's loss is computed from rows that it made and the discriminator's noisy weights; the latter's loss stays here.
    """
    start = torch.cat([torch.from_numpy(share).float() for share in shares])
    public = stir(torch.Generator())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(secrets.randbits(32))
        generator, discriminator = Generator(start), Discriminator(bags.sizes)
    average = {name: weight.clone() for name, weight in generator.state_dict().items()}
    adam = torch.optim.Adam(generator.parameters(), lr=_GENERATOR_RATE, betas=(0.5, 0.99))
    opponent = _Opponent(discriminator, steps, subjects=subjects, rows_each=rows_each, width=width)
    n_fakes = min(max(1, round(steps.rate * subjects)), _ROWS_AT_ONCE)
    loss = torch.zeros(())
    for step in range(steps.count):
        with torch.no_grad():
            fakes = drawn_rows(chances(generator, n_fakes, start, bags.sizes, public), bags.sizes, public)
        opponent.step(bags, fakes)
        adam.param_groups[0]["lr"] = _GENERATOR_RATE * (1 - step / steps.count)
        for _ in range(_GENERATOR_STEPS):
            made = chances(generator, _GENERATOR_ROWS, start, bags.sizes, public)
            away = kl_div(made.mean(dim=0).clamp_min(1e-9).log(), start, reduction="sum") / len(bags.sizes)
            adam.zero_grad()
            loss = away - discriminator.expected(made).mean()
            torch.autograd.backward(loss)
            adam.step()
            for name, weight in generator.state_dict().items():
                average[name].lerp_(weight, 1 - _AVERAGING)
        told(step + 1, float(loss.detach()))
    return {"start": start.numpy(), **{name: weight.numpy() for name, weight in average.items()}}


class _Opponent:
    """The discriminator with Opacus's clipping and noise around it."""

    def __init__(self, network: Discriminator, steps: Steps, *, subjects: float, rows_each: float, width: int) -> None:
        self._rate, self._rows_each, self._width = steps.rate, rows_each, width
        self._module = GradSampleModuleFastGradientClipping(network, loss_reduction="sum", max_grad_norm=CLIP)
        # Adam would walk as fast where there is nothing but noise as where there is something to learn
        sgd = torch.optim.SGD(network.parameters(), lr=_LEARNING_RATE, weight_decay=_FORGETTING)
        self._noise = torch.Generator()
        self._optimizer = DPOptimizerFastGradientClipping(
            sgd,
            noise_multiplier=steps.noise,
            max_grad_norm=CLIP,
            expected_batch_size=max(1.0, steps.rate * subjects),
            generator=self._noise,
        )

    def step(self, bags: Bags, fakes: torch.Tensor) -> None:
        """One step on a fresh Poisson sample of subjects; the fakes are public: clipped as they are, without noise."""
        self._backward(softplus(self._module(fakes[:, None])).sum(dim=1))
        public = [weight.grad / len(fakes) for weight in self._optimizer.params]
        stir(self._noise)
        self._add_private(bags, bags.sampled(self._rate))
        for weight, gradient in zip(self._optimizer.params, public, strict=True):
            weight.grad += gradient
        self._optimizer.original_optimizer.step()

    def _add_private(self, bags: Bags, subjects: Codes) -> None:
        """Sets the gradients to those of the subjects' rows: clipped, summed, noised once, over the expected batch size."""
        at_once = max(1, _ROWS_AT_ONCE // self._width)
        parts = range(0, max(1, len(subjects)), at_once)
        for first in parts:
            rows, there = bags.rows(subjects[first : first + at_once], self._width)
            self._backward((softplus(-self._module(rows)) * there).sum(dim=1) / self._rows_each)
            self._optimizer.signal_skip_step(first != parts[-1])
            self._optimizer.pre_step()

    def _backward(self, losses: torch.Tensor) -> None:
        """Sets the gradients to the sum over bags of each one's gradient, clipped to norm CLIP."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Opacus's hooks on inputs that need no gradient
            DPTensorFastGradientClipping(self._module, self._optimizer, losses, "sum").backward()
        self._module.enable_hooks()


def chances(
    generator: Callable[[torch.Tensor], torch.Tensor],
    n: int,
    start: torch.Tensor,
    sizes: Sequence[int],
    rng: torch.Generator,
) -> torch.Tensor:
    """Chances [n, cells] of n rows."""
    cells = drawn_rows(start.expand(n, -1), sizes, rng)
    logits = generator(torch.cat([torch.randn(n, NOISE, generator=rng), cells], dim=1))
    return torch.cat([softmax(block, dim=1) for block in torch.split(logits, list(sizes), dim=1)], dim=1)
