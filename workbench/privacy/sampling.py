"""Chance for DP-SGD (Abadi et al. 2016): who is in a step's batch, and the state of the generator that draws its noise.

Both come from the operating system: nobody can try all seeds, and nothing is stored from which a step could be repeated.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt
import torch


def poisson_sample(n: int, rate: float) -> npt.NDArray[np.int64]:
    """Which of n subjects are in a batch: each with probability `rate`, whoever else is."""
    if rate >= 1:
        return np.arange(n)
    drawn = np.frombuffer(os.urandom(8 * n), dtype=np.uint64)
    return np.flatnonzero(drawn < np.uint64(rate * 2**64))


def stir(generator: torch.Generator) -> torch.Generator:
    """Sets the whole state from the system's secure generator: torch takes 32 bits of a seed, which could all be tried.

    The state is that of a Mersenne twister, 624 words after three of bookkeeping; a fresh seed makes the latter right.
    """
    state = generator.manual_seed(0).get_state()
    words = np.frombuffer(os.urandom(4 * 624), dtype=np.uint32).astype(np.uint64)
    state[24 : 24 + 8 * 624] = torch.from_numpy(words.view(np.uint8))
    generator.set_state(state)
    return generator
