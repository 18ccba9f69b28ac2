"""Libraries that are imported when they are first used: a command that uses none of them does not pay for them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Later:
    """What stands for a module until something of it is asked for; `more` are parts that are then imported too."""

    def __init__(self, module: str, *more: str) -> None:
        self._modules = (module, *more)

    def __getattr__(self, name: str) -> Any:
        module, *_ = map(import_module, self._modules)
        found = self.__dict__[name] = getattr(module, name)
        return found
