"""Many small networks trained in one pass: the t-th step of each is one operation on all of them (torch, one thread).

Every network's bits are those it has alone, whatever is trained beside it (docs/adr/0020):
  - each network's batches have one size, wherever it is trained; what fills the last one of a pass counts for nothing
  - networks with more steps come first, and one that is done is left out: nothing idle is computed or moved
  - matrices are multiplied by kernels that do not look at how many there are, which takes two columns at least
  - nothing is summed but by these; all else is done number by number or row by row, in blocks that are whole vectors, so that
    no number is rounded as the remainder of a loop
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from workbench.sisa.learners.design import Vectors
from workbench.sisa.learners.layers import Layers, inputs_width, targets_of, write_inputs
from workbench.sisa.learners.visit_order import Places
from workbench.sisa.shard import Floats, Shard
from workbench.sisa.task import Task

_MEAN, _SQUARE, _TINY = 0.9, 0.999, 1e-16  # Adam's (Kingma & Ba 2015)
Meaning = Callable[[torch.Tensor], torch.Tensor]
# What outputs mean: less the targets it is the gradient of the loss (cross-entropy, or half the square)
_MEANING: Mapping[str, Meaning] = {
    "binary": torch.sigmoid,
    "multiclass": partial(torch.softmax, dim=2),
    "regression": lambda outputs: outputs,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """A network under way: its weights [size], Adam's two averages of its gradients, and how many steps it took."""

    weights: Vectors
    mean: Vectors
    square: Vectors
    steps: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Lap:
    """What a slice adds to a network: batches [steps, size] of rows of the table, or NOBODY."""

    slice_number: int
    batches: Places


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """One network's way: from where, over which laps, and how many steps these are in all."""

    number: int
    start: State
    laps: Iterator[Lap]
    steps: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """What is learnt from: inputs [n + 1, width], targets [n + 1, outputs], and which rows count; the last is nobody's."""

    inputs: torch.Tensor
    targets: torch.Tensor
    there: torch.Tensor
    meaning: Meaning


def table_of(shards: Sequence[Shard], task: Task) -> Table:
    """The table of several shards' rows one after another, and of nobody's; their vectors are written where they stay."""
    ends = np.cumsum([len(shard) for shard in shards]).tolist()
    inputs = np.zeros((ends[-1] + 1, inputs_width(task)), dtype=np.float32)
    for shard, end in zip(shards, ends, strict=True):
        write_inputs(shard.features, task, inputs[end - len(shard) : end])
    targets = targets_of(np.concatenate([*(shard.target for shard in shards), [0]]), task)
    there = torch.ones(len(inputs))
    there[-1] = 0
    return Table(
        inputs=torch.from_numpy(inputs), targets=torch.from_numpy(targets), there=there, meaning=_MEANING[task.kind]
    )


def run(
    courses: Sequence[Course], table: Table, layers: Layers, *, rate: float, decay: float
) -> Iterator[tuple[int, int, State]]:
    """Trains all networks; yields each one's number, slice and state as the slice ends."""
    runners = sorted((_Runner(course) for course in courses), key=lambda r: -r.course.steps)
    stack = _Stack([runner.course.start for runner in runners], layers)
    while runners:
        steps = min(runner.left for runner in runners)
        batches = np.stack([runner.take(steps) for runner in runners], axis=1)
        rates = rate * np.stack([runner.corrections(steps) for runner in runners], axis=1)
        with pinned():
            stack.walk(table, batches, rates, decay)
        for place, runner in enumerate(runners):
            if runner.left == 0:
                yield runner.course.number, runner.lap.slice_number, stack.state(place, runner.steps)
                runner.advance()
        runners = [runner for runner in runners if runner.left]


class _Runner:
    """Where a network is on its course."""

    def __init__(self, course: Course) -> None:
        self.course, self.steps = course, course.start.steps
        self.advance()

    def advance(self) -> None:
        """To the next lap, if there is one."""
        self._done = 0
        nothing = Lap(slice_number=-1, batches=np.empty((0, 0), dtype=np.int64))
        self.lap = next(self.course.laps, nothing)

    @property
    def left(self) -> int:
        """How many steps are left of the lap."""
        return len(self.lap.batches) - self._done

    def take(self, steps: int) -> Places:
        """The batches of the next steps, which count as taken."""
        self._done += steps
        self.steps += steps
        return self.lap.batches[self._done - steps : self._done]

    def corrections(self, steps: int) -> Floats:
        """Adam's, at each of the steps just taken, for its averages having begun with 0."""
        numbers = np.arange(self.steps - steps + 1, self.steps + 1)
        return np.asarray(np.sqrt(1 - _SQUARE**numbers) / (1 - _MEAN**numbers))


class _Stack:
    """All networks' weights and averages as three tensors [networks, size]."""

    def __init__(self, states: Sequence[State], layers: Layers) -> None:
        self._layers = layers
        self._weights = torch.from_numpy(np.stack([state.weights for state in states]))
        self._mean = torch.from_numpy(np.stack([state.mean for state in states]))
        self._square = torch.from_numpy(np.stack([state.square for state in states]))
        self._gradient = torch.zeros_like(self._weights)  # what pads it to a whole number of vectors stays 0
        self._scratch = torch.zeros_like(self._weights)

    def state(self, place: int, steps: int) -> State:
        """A copy of one network's state."""
        tensors = (self._weights, self._mean, self._square)
        weights, mean, square = (tensor[place].numpy().copy() for tensor in tensors)
        return State(weights=weights, mean=mean, square=square, steps=steps)

    def walk(self, table: Table, batches: Places, rates: Floats, decay: float) -> None:
        """Steps of the first networks, as many as the batches [steps, networks, size] are of."""
        steps, networks, size = batches.shape
        tensors = (self._weights, self._mean, self._square, self._gradient, self._scratch)
        weights, mean, square, gradient, scratch = (tensor[:networks] for tensor in tensors)
        matrices, gradients = self._layers.matrices(weights), self._layers.matrices(gradient)
        places = torch.from_numpy(np.where(batches < 0, len(table.there) - 1, batches).reshape(-1))
        targets = table.targets.index_select(0, places).view(steps, networks, size, -1)
        shares = table.there.index_select(0, places).view(steps, networks, size, 1).div_(size)
        slowness = torch.from_numpy((1 / rates).astype(np.float32))[..., None]
        keep = torch.from_numpy((1 - rates * decay).astype(np.float32))[..., None]
        for step, rows in enumerate(places.view(steps, -1)):
            inputs = table.inputs.index_select(0, rows).view(networks, size, -1)
            _differentiate(matrices, gradients, inputs, targets[step], shares[step], table.meaning)
            _move(weights, mean, square, gradient, slowness[step], keep[step], scratch)


def _differentiate(
    matrices: Sequence[torch.Tensor],
    gradients: Sequence[torch.Tensor],
    inputs: torch.Tensor,
    targets: torch.Tensor,
    shares: torch.Tensor,
    meaning: Meaning,
) -> None:
    """Writes each network's gradient of the loss, rows weighted by their shares."""
    values = [inputs]
    for matrix in matrices[:-1]:
        values.append(torch.bmm(values[-1], matrix).clamp_min_(0))
        values[-1][:, :, 0] = 1
    errors = meaning(torch.bmm(values[-1], matrices[-1])).sub_(targets).mul_(shares)
    for layer in reversed(range(len(matrices))):
        torch.bmm(values[layer].transpose(1, 2), errors, out=gradients[layer])
        if layer:
            errors = torch.bmm(errors, matrices[layer].transpose(1, 2)).mul_(values[layer].sign_())
            errors[:, :, 0] = 0


def _move(
    weights: torch.Tensor,
    mean: torch.Tensor,
    square: torch.Tensor,
    gradient: torch.Tensor,
    slowness: torch.Tensor,
    keep: torch.Tensor,
    scratch: torch.Tensor,
) -> None:
    """A step of Adam with decoupled weight decay (Loshchilov & Hutter 2019); `slowness` is one over the rate."""
    mean.lerp_(gradient, 1 - _MEAN)
    square.lerp_(torch.mul(gradient, gradient, out=scratch), 1 - _SQUARE)
    torch.add(square, _TINY, out=scratch).sqrt_().mul_(slowness)  # the root of 0 would take 20 times as long
    weights.mul_(keep).addcdiv_(mean, scratch, value=-1)


@contextmanager
def pinned() -> Iterator[None]:
    """One thread, as several share a multiplication out in ways that round differently; and no numbers so small that they
    are slow, which averages of gradients that stay 0 would become.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)
