"""dp-accounting, imported without the parts of SciPy that it only calculates with.

These parts make up most of what its import costs (1.2 of 1.3 CPU seconds), and a command that shows or stores events uses none.
While dp-accounting is imported, a placeholder stands for each: dp-accounting keeps names that are looked up when they are used.
Another module that imports at the same time, in another thread, gets the real ones.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

_LATER = ("scipy.fft", "scipy.optimize", "scipy.signal", "scipy.special", "scipy.stats")


class _Later:
    """A name of a module that is imported when the name is called, or asked for something."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def _found(self) -> Any:
        return getattr(_real(self._module), self._name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found(), name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._found()(*arguments, **named)


class _Placeholder(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        asking: str = sys._getframe(1).f_globals.get("__name__", "")
        return (
            _Later(self.__name__, name) if asking.startswith("dp_accounting.") else getattr(_real(self.__name__), name)
        )


def _real(name: str) -> ModuleType:
    if isinstance(sys.modules.get(name), _Placeholder):
        sys.modules.pop(name, None)
    return import_module(name)


@contextmanager
def _later(modules: tuple[str, ...]) -> Iterator[None]:
    """Put a placeholder in the place of each module that is not imported yet, until what is inside is done."""
    placed = {name: _Placeholder(name) for name in modules if name not in sys.modules}
    sys.modules.update(placed)
    try:
        yield
    finally:
        for name, placeholder in placed.items():
            if sys.modules.get(name) is placeholder:
                sys.modules.pop(name, None)


with _later(_LATER):
    import dp_accounting as dpa
    from dp_accounting import pld, rdp

__all__ = ["dpa", "pld", "rdp"]
