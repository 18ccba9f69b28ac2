"""Parts of the workbench that want more libraries than the rest, and what installs these."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from workbench.errors import MissingExtraError

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "api": ("anyio", "fastapi", "h11", "limits", "prometheus_client", "starlette", "uvicorn"),
    "app": ("authlib", "httpx", "streamlit"),
}


def require_extra(name: str) -> None:
    """Raise MissingExtraError unless all libraries of an extra are installed; none is imported."""
    missing = [module for module in EXTRAS[name] if find_spec(module) is None]
    if missing:
        raise MissingExtraError(
            f"this command needs the extra [{name}]; not installed: {', '.join(missing)}",
            hint=f'pip install "erasure-workbench[{name}]"',
        )
