"""The code, libraries and platform that an erasure was done with: bit-identity is promised on these alone."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workbench.state.atomic_files import sha256

_LEARNT_WITH = ("lightgbm", "numpy", "safetensors", "scikit-learn", "scipy", "skops", "torch")
_LIBRARIES = (*_LEARNT_WITH, "pandas", "pyarrow", "dp-accounting", "opendp", "mlflow-skinny")


@cache
def environment() -> dict[str, str]:
    """Names and versions, and the SHA-256 of the workbench's own source."""
    package = Path(__file__).parent.parent
    sources = sorted(package.rglob("*.py"))
    code = sha256(b"".join(f"{p.relative_to(package)}\0".encode() + p.read_bytes() for p in sources))
    libraries = {name: version(name) for name in _LIBRARIES}
    return {
        "workbench": version("erasure-workbench"),
        "code_sha256": code,
        "python": platform.python_version(),
        "platform": _platform(),
        **libraries,
    }


@cache
def learnt_with() -> dict[str, str]:
    """What a constituent's bits depend on besides the config and the records: under another it may come out otherwise."""
    return {"platform": _platform(), **{name: version(name) for name in _LEARNT_WITH}}


def _platform() -> str:
    return f"{platform.system()} {platform.machine()}"


def learnt_elsewhere(constituent: Mapping[str, Any]) -> bool:
    """Whether other libraries trained a constituent, by the body of its artifact: here it would get other bytes."""
    return bool(constituent.get("learnt_with", learnt_with()) != learnt_with())
