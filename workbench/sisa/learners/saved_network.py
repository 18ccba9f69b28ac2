"""A network as bytes: vectors of its size, how wide its layers are and how many steps it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from workbench.errors import DamagedError
from workbench.sisa.learners.design import Vectors
from workbench.sisa.learners.layers import Layers
from workbench.sisa.learners.tensors import from_bytes, to_bytes


def save_network(vectors: Mapping[str, Vectors], layers: Layers, *, steps: int) -> bytes:
    """The vectors [size], by name, with the layers and the steps."""
    return to_bytes(**vectors, steps=np.array([steps]), widths=np.array(layers.widths))


def load_network(model: bytes, layers: Layers, names: Sequence[str]) -> tuple[dict[str, Vectors], int]:
    """The vectors and the steps that `save_network` wrote; DamagedError for anything else, and for other layers."""
    vector, widths = np.zeros(layers.size, dtype=np.float32), np.array(layers.widths)
    arrays = from_bytes(model, "network", **dict.fromkeys(names, vector), steps=np.array([0]), widths=widths)
    if (arrays["widths"] != widths).any() or not all(np.isfinite(arrays[name]).all() for name in names):
        raise DamagedError(
            "a checkpoint is not a network of this task and these settings", hint="train the ensemble again"
        )
    return {name: arrays[name].copy() for name in names}, int(arrays["steps"][0])
