"""A fitted generator on disk: one JSON document, and tensors where it has some. No format that could hold code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.errors import InputError

Arrays = Mapping[str, npt.NDArray[Any]]


def save(folder: Path, kind: str, document: Mapping[str, Any], arrays: Arrays | None = None) -> None:
    """Writes KIND.json and, where there are arrays, KIND.safetensors into an existing folder."""
    from safetensors.numpy import save_file

    text = json.dumps({"format": _format(kind), **document}, sort_keys=True, indent=1, allow_nan=False)
    (folder / f"{kind}.json").write_text(text, encoding="utf-8")
    if arrays is not None:
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / f"{kind}.safetensors")


@contextmanager
def saved(folder: Path, kind: str) -> Iterator[tuple[dict[str, Any], Arrays]]:
    """What `save` wrote, to be put together; raises InputError where files are missing or damaged, or do not go together."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    tensors = folder / f"{kind}.safetensors"
    try:
        document = json.loads((folder / f"{kind}.json").read_text(encoding="utf-8"))
        if document["format"] != _format(kind):
            raise InputError(f"{folder} holds another format than {_format(kind)}", hint="fit the generator again")
        yield document, load_file(tensors) if tensors.exists() else {}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise InputError(
            f"{folder} holds no readable {kind} model: {type(error).__name__}", hint="fit the generator again"
        ) from None


def _format(kind: str) -> str:
    return f"workbench-{kind.replace('_', '-')}-1"
