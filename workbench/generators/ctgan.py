"""CTGAN: a generative adversarial network for tables (Xu et al. 2019), by the ctgan library. Not private.

The generator network, the modes of the numbers and how often each category is asked for are learnt from the rows without
any bound on what they tell of one person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.data.dataset import Dataset
from workbench.generators.flat_table import FlatTable, flat_table, load_flat_table
from workbench.generators.generator import NotPrivate
from workbench.generators.mode_encoding import Decoder, Span, check_width, coded_columns, fitting, load_spans, spans_of
from workbench.generators.rejection_sampling import draw
from workbench.generators.saved import save, saved
from workbench.progress import FitProgress, silent
from workbench.schema import Codec
from workbench.schema.codec import Values
from workbench.schema.value_sets import Within

_KIND = "ctgan"
_SIZES: dict[str, Any] = {"embedding_dim": 128, "generator_dim": (256, 256), "batch_size": 500}


@dataclass(frozen=True, kw_only=True)
class Ctgan(NotPrivate):
    """The CTGAN synthesizer, with the library's defaults but for the number of epochs."""

    epochs: int = 300

    def fit(self, dataset: Dataset, *, notebook: Path | None = None, progress: FitProgress = silent) -> FittedCtgan:
        """Fits the records; raises InputError where there is nothing to learn or too much to hold."""
        from ctgan import CTGAN

        del notebook  # it notes charges, and there are none
        flat = flat_table(dataset, generator="CTGAN")
        table = flat.table(dataset.values)
        check_width(table, flat, generator="CTGAN")
        with fitting(CTGAN, epochs=self.epochs, progress=progress, **_SIZES) as model:
            model.fit(table, coded_columns(flat, progress))
        chances = model._data_sampler._discrete_column_category_prob
        return FittedCtgan(
            flat=flat,
            spans=spans_of(model._transformer),
            shares=chances[chances > 0] / chances.sum(),
            weights={name: weight.clone() for name, weight in model._generator.state_dict().items()},
            total=float(len(dataset)),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedCtgan:
    """A fitted CTGAN: what sampling needs, and nothing about a single row."""

    flat: FlatTable
    spans: tuple[Span, ...]
    shares: npt.NDArray[np.float64]
    weights: Mapping[str, Any]
    total: float

    def sample(self, n: int, *, rng: np.random.Generator, where: Mapping[str, Within] | None = None) -> Values:
        """`n` encoded rows; equal seeds give equal rows on one platform. Raises InputError where `where` is hardly met."""
        import torch

        model = self._model(rng)
        with torch.no_grad():
            return draw(model.sample, n, codec=self.flat.codec, where=where)

    def _model(self, rng: np.random.Generator) -> Any:
        """The library's model with the weights, and our decoder in place of all else that it learnt."""
        from ctgan import CTGAN
        from ctgan.synthesizers.ctgan import Generator

        model = CTGAN(enable_gpu=False, **_SIZES)
        outputs = sum(span.outputs for span in self.spans)
        model._generator = Generator(_SIZES["embedding_dim"] + len(self.shares), _SIZES["generator_dim"], outputs)
        model._generator.load_state_dict(dict(self.weights))
        model._transformer = model._data_sampler = Decoder(
            flat=self.flat, spans=self.spans, shares=self.shares, rng=rng
        )
        model.set_random_state(int(rng.integers(2**31)))
        return model

    def save(self, folder: Path) -> None:
        """Writes ctgan.json and ctgan.safetensors into an existing folder."""
        document = {
            "table": self.flat.to_json(),
            "spans": [span.to_json() for span in self.spans],
            "shares": self.shares.tolist(),
            "total": self.total,
        }
        save(folder, _KIND, document, {name: weight.numpy() for name, weight in self.weights.items()})


def load_ctgan(folder: Path, codec: Codec) -> FittedCtgan:
    """The fitted CTGAN that `save` wrote into `folder`; raises InputError where a file is missing or damaged."""
    import torch

    with saved(folder, _KIND) as (document, weights):
        flat = load_flat_table(document["table"], codec)
        fitted = FittedCtgan(
            flat=flat,
            spans=load_spans(document["spans"], flat),
            shares=np.array(document["shares"], dtype=np.float64),
            weights={name: torch.from_numpy(weight) for name, weight in weights.items()},
            total=float(document["total"]),
        )
        fitted.sample(1, rng=np.random.default_rng(0))  # weights, shares and spans fit together
    return fitted
