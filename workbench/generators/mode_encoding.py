"""What CTGAN's and TVAE's outputs stand for: one code of several, or a number relative to one of several modes.

The libraries' own transformers and samplers are left behind after a fit: they hold the numbers of the rows in which each
category occurs. What stays are the codes that occurred and, of numbers, the modes of a mixture of normals.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from workbench.errors import InputError
from workbench.generators.flat_table import FlatTable
from workbench.progress import FitProgress

_MODE_WIDTH = 4  # a mode reaches four standard deviations to each side (Xu et al. 2019, 4.2)
_MODES = 10  # of a number, at most
MOST_CELLS = 2**27  # of the table as the networks read it: 1 GB, of which a fit takes a few copies


@dataclass(frozen=True, kw_only=True)
class Span:
    """The outputs of one column: the code that each stands for, or the modes that come after a number's own output."""

    codes: tuple[int, ...] = ()
    means: tuple[float, ...] = ()
    widths: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (len(self.codes) > 0) ^ (len(self.means) > 0) or len(self.means) != len(self.widths):
            raise InputError("a span of a fitted network holds codes, or as many means as widths")
        if not np.isfinite([*self.means, *self.widths]).all():
            raise InputError("a span of a fitted network holds numbers that are not finite")

    @property
    def outputs(self) -> int:
        """How many outputs of the network it takes."""
        return len(self.codes) or 1 + len(self.means)

    def to_json(self) -> dict[str, Any]:
        """What `Span(**document)` reads."""
        return {"codes": self.codes} if self.codes else {"means": self.means, "widths": self.widths}


class _Output(NamedTuple):  # as the libraries name them
    dim: int
    activation_fn: str


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """Stands in a library's model for its transformer and, where it asks for one, its sampler of conditions.

    `shares` is how often each code of each column is asked for, in the order of the spans.
    """

    flat: FlatTable
    spans: Sequence[Span]
    shares: npt.NDArray[np.float64]
    rng: np.random.Generator

    @property
    def output_info_list(self) -> list[list[_Output]]:
        """The activations of the outputs, as the libraries ask for them."""
        return [
            [_Output(span.outputs, "softmax")]
            if span.codes
            else [_Output(1, "tanh"), _Output(len(span.means), "softmax")]
            for span in self.spans
        ]

    def inverse_transform(
        self, outputs: npt.NDArray[np.float32], sigmas: npt.NDArray[np.float32] | None = None
    ) -> npt.NDArray[np.float64]:
        """Encoded values of a network's outputs; `sigmas` is the noise that TVAE adds to its numbers."""
        columns, begin = {}, 0
        for part, span in zip(self.flat.parts, self.spans, strict=True):
            own = outputs[:, begin : begin + span.outputs]
            if span.codes:
                columns[part.name] = np.array(span.codes)[own.argmax(axis=1)]
            else:
                place = own[:, 0].astype(np.float64)
                if sigmas is not None:
                    place = self.rng.normal(place, sigmas[begin])
                mode = own[:, 1:].argmax(axis=1)
                width = np.array(span.widths)[mode]
                columns[part.name] = np.array(span.means)[mode] + _MODE_WIDTH * width * np.clip(place, -1, 1)
            begin += span.outputs
        return self.flat.values(columns, len(outputs))

    def sample_original_condvec(self, batch: int) -> npt.NDArray[np.float32] | None:
        """One code per row to ask the network for, one-hot over all codes; None where no column has codes."""
        if not len(self.shares):
            return None
        asked = np.zeros((batch, len(self.shares)), dtype=np.float32)
        asked[np.arange(batch), self.rng.choice(len(self.shares), size=batch, p=self.shares)] = 1
        return asked


def spans_of(transformer: Any) -> tuple[Span, ...]:
    """The spans of a library's fitted transformer."""
    return tuple(map(_span, transformer._column_transform_info_list))


def _span(column: Any) -> Span:
    if column.column_type == "discrete":
        return Span(codes=tuple(map(int, column.transform.dummies)))
    mixture, kept = column.transform._bgm_transformer, column.transform.valid_component_indicator
    means, widths = mixture.means_.reshape(-1)[kept], np.sqrt(mixture.covariances_.reshape(-1)[kept])
    return Span(means=tuple(map(float, means)), widths=tuple(map(float, widths)))


def load_spans(documents: Sequence[Mapping[str, Any]], flat: FlatTable) -> tuple[Span, ...]:
    """The spans that `to_json` described; raises InputError where they do not fit the flat table."""
    spans = tuple(Span(**{key: tuple(values) for key, values in document.items()}) for document in documents)
    parts = flat.parts
    if len(spans) != len(parts):
        raise InputError(f"a fitted network of {len(spans)} spans is no network of {len(parts)} columns")
    for part, span in zip(parts, spans, strict=True):
        if part.coded != bool(span.codes) or not set(span.codes) <= set(range(flat.cells(part)) if part.coded else ()):
            raise InputError(f"a span of a fitted network has codes that column {part.position + 1} has not")
    return spans


def check_width(table: pd.DataFrame, flat: FlatTable, *, generator: str) -> None:
    """Raises InputError where the table would be too wide for the networks, which read one number per code that occurs."""
    width = sum(table[part.name].nunique() if part.coded else 1 + _MODES for part in flat.parts)
    if width * len(table) > MOST_CELLS:
        raise InputError(
            f"{generator} would read a table of {len(table):,} rows by {width:,} codes and modes, at most {MOST_CELLS:,} cells",
            hint="declare fewer categories, or take generator: gaussian_copula",
        )


class _LookedUp(list[str]):
    """Names of columns that report each time one is looked up."""

    def __init__(self, names: Iterable[str], report: Callable[[], None]) -> None:
        super().__init__(names)
        self._report = report

    def __contains__(self, name: object) -> bool:
        self._report()
        return super().__contains__(name)


def coded_columns(flat: FlatTable, progress: FitProgress) -> list[str]:
    """Return the columns of codes, as the libraries' `fit` takes them; what `progress` raises ends the fit.

    The libraries look each column up here before they fit its modes, which takes longer than many epochs.
    """
    return _LookedUp([part.name for part in flat.parts if part.coded], lambda: progress(0.0, "encoding"))


@contextmanager
def fitting(kind: type[Any], *, epochs: int, progress: FitProgress, **sizes: Any) -> Iterator[Any]:
    """A model of a library's class that reports each epoch of its fit; what `progress` raises ends the fit.

    The libraries take no callback, but store the losses once an epoch: whoever holds that attribute sees every epoch of
    one unbroken run, with its optimisers.
    """
    from joblib import parallel_config

    def note(model: Any, losses: pd.DataFrame | None) -> None:
        model.__dict__["noted"] = losses
        if losses is not None and len(losses):
            done = int(losses["Epoch"].iloc[-1]) + 1
            progress(done / epochs, f"epoch {done} of {epochs}", step=done)  # no loss: it is computed from the rows

    watched = type(kind.__name__, (kind,), {"loss_values": property(lambda model: model.__dict__["noted"], note)})
    model = watched(epochs=epochs, enable_gpu=False, **sizes)
    model.set_random_state(secrets.randbelow(2**31))
    progress(0.0, "encoding")
    # joblib's processes would be sent the rows, through files where they are many
    with parallel_config(backend="sequential"):
        yield model
