"""Three public tables about people, shipped so that every command runs without a download; licences in README.md."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from workbench.errors import NotFoundError

BUNDLED: frozenset[str] = frozenset({"adult", "oulad", "german"})
BUNDLED_FILES: frozenset[str] = frozenset({f"{name}.parquet" for name in BUNDLED} | {"adult_test.parquet"})


def bundled_path(file_name: str) -> Path:
    """The path of a bundled file; raises NotFoundError for any other name, so no path can be smuggled in."""
    if file_name not in BUNDLED_FILES:
        raise NotFoundError(f"no bundled file has the name asked for; the bundled files are {sorted(BUNDLED_FILES)}")
    return Path(str(files(__name__))) / file_name
