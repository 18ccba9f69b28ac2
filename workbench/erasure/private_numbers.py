"""Which hits are digits of numbers in differentially private results, and not of a text that is among them.

Noise is kept nowhere, so such numbers can't be replayed; a text among them is no number, whoever put it there.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from workbench.bytescan.archives import Search
from workbench.bytescan.folders import Hit, words
from workbench.erasure.json_texts import texts_of

_JSON = (".json", ".jsonl")
_TENSORS = ".safetensors"


def is_number(path: Path, hit: Hit, needles: Collection[bytes]) -> bool:
    """Return whether a hit in a file of a private result is in its numbers: JSON without such a text, or arrays."""
    try:
        if path.suffix in _JSON:
            content = path.read_text(encoding="utf-8")
            lines = content.splitlines() if path.suffix == ".jsonl" else [content]
            search = Search({spelling: width for needle in needles for spelling, width in words(needle).items()})
            return not any(search.find(text.encode()) for line in lines for _, text in texts_of(json.loads(line)))
        if path.suffix == _TENSORS and hit.where == "":
            with path.open("rb") as file:
                start = 8 + int.from_bytes(file.read(8), "little")
                arrays = json.loads(file.read(start - 8))
            end = start + max(
                (array["data_offsets"][1] for array in arrays.values() if "data_offsets" in array), default=0
            )
            return start <= hit.offset and hit.offset + len(hit.needle) <= end
    except (OSError, ValueError, TypeError, KeyError, RecursionError, AttributeError):
        pass  # it is not what its name says
    return False
