"""Models that are a few arrays, as safetensors: no pickle, and equal arrays have equal bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from workbench.errors import DamagedError

Array = npt.NDArray[Any]


def to_bytes(**arrays: Array) -> bytes:
    """The arrays as bytes, by name."""
    return save({name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())})


def from_bytes(model: bytes, what: str, **forms: Array) -> dict[str, Array]:
    """The arrays of a model; each must have the shape and type of its form. Raises DamagedError for anything else."""
    try:
        arrays = load(model)
    except (SafetensorError, ValueError, KeyError):
        arrays = {}
    if arrays.keys() != forms.keys() or any(
        array.shape != forms[name].shape or array.dtype != forms[name].dtype for name, array in arrays.items()
    ):
        raise DamagedError(f"a checkpoint is not a {what} of this task", hint="train the ensemble again")
    return arrays
