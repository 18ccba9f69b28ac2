"""The code, libraries and platform that an erasure was done with: bit-identity is promised on these alone."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path

from workbench.files import sha256

_LIBRARIES = (
    "lightgbm",
    "numpy",
    "pandas",
    "pyarrow",
    "dp-accounting",
    "opendp",
    "mlflow-skinny",
    "safetensors",
    "scikit-learn",
    "scipy",
    "skops",
)


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
        "platform": f"{platform.system()} {platform.machine()}",
        **libraries,
    }
