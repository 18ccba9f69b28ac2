"""Progress on standard error, with the time left; silent where standard error is not a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Protocol, TypeVar

Chunk = TypeVar("Chunk", bound=Sized)
Progress = Callable[[float, str], None]


class FitProgress(Protocol):
    """Progress of a fit, which at some steps tells how it goes: `figures` by name, at `step`.

    Figures may be shown to whoever sees the fitted generator, so a private fit computes them from noisy and public values
    alone, and one that is not private tells nothing but its steps.
    """

    def __call__(self, fraction: float, text: str, *, step: int | None = None, **figures: float) -> None:
        """Reports a fraction done in [0, 1] and what is being done."""


def silent(fraction: float, text: str, *, step: int | None = None, **figures: float) -> None:
    """Reports to nobody."""


def watched(chunks: Iterable[Chunk], total: int, progress: Progress) -> Iterator[Chunk]:
    """The chunks of a table of about `total` rows, reporting each once its reader asks for the next."""
    rows = 0
    for chunk in chunks:
        yield chunk
        rows += len(chunk)
        progress(min(0.99, rows / max(total, 1)), f"{rows:,} rows")


@contextmanager
def progress_bar(title: str) -> Iterator[Progress]:
    """A bar driven by calls `(fraction done in [0, 1], what is being done)`."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda fraction, text: bar.update(task, completed=fraction, description=f"{title}: {text}")
