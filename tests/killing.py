"""Standing in for the end of a process, at a step of an erasure or at the n-th of some operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

from workbench.workflows.erasure import execute


class Killed(BaseException):
    """Stands for the end of the process: nothing in the workbench may catch it."""


@contextmanager
def killed_in(step: str, *, late: bool) -> Iterator[None]:
    """What is inside is killed in that step: `late`, after it did its work and before that was recorded."""
    target, work = execute.STEPS[step]  # type: ignore[index]

    def killed(*arguments: object) -> None:
        if late:
            work(*arguments)  # type: ignore[arg-type]
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(execute.STEPS, step, (target, killed))  # type: ignore[misc]
        with pytest.raises(Killed):
            yield


def killer(at: int, *, late: bool) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wraps functions so that the `at`-th call of any of them is the last, before or after it is done."""
    calls = count(1)

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **options: Any) -> Any:
            number = next(calls)
            if number == at and not late:
                raise Killed
            result = original(*arguments, **options)
            if number == at:
                raise Killed
            return result

        return operation

    return wrapped
