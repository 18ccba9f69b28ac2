"""A network on disk: safetensors, which holds numbers and nothing that could run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from workbench.errors import InputError
from workbench.sisa.learners.design import Vectors
from workbench.sisa.learners.layers import Layers


def save_network(vectors: Mapping[str, Vectors], layers: Layers, *, steps: int) -> bytes:
    """Vectors of the network's size, by name, with how wide its layers are and how many steps it took."""
    numbers = {"steps": np.array([steps]), "widths": np.array(layers.widths)}
    return bytes(save({**vectors, **numbers}))


def load_network(model: bytes, layers: Layers, names: Sequence[str]) -> tuple[dict[str, Vectors], int]:
    """The vectors and the steps that `save_network` wrote; InputError for anything else, and for other layers."""
    try:
        tensors = load(model)
        sound = (
            set(tensors) == {*names, "steps", "widths"}
            and tensors["widths"].tolist() == list(layers.widths)
            and all(tensors[n].dtype == np.float32 and tensors[n].shape == (layers.size,) for n in names)
            and all(np.isfinite(tensors[n]).all() for n in names)
            and tensors["steps"].dtype == np.int64
            and tensors["steps"].shape == (1,)
        )
    except (SafetensorError, ValueError, KeyError):
        sound = False
    if not sound:
        raise InputError(
            "a checkpoint is not a network of this task and these settings", hint="train the ensemble again"
        )
    return {name: tensors[name].copy() for name in names}, int(tensors["steps"][0])
