"""TVAE: a variational autoencoder for tables (Xu et al. 2019), by the ctgan library. Not private.

The decoder network and the modes of the numbers are learnt from the rows without any bound on what they tell of one person.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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

_KIND = "tvae"
_SIZES: dict[str, Any] = {"embedding_dim": 128, "decompress_dims": (128, 128), "batch_size": 500}


@dataclass(frozen=True, kw_only=True)
class Tvae(NotPrivate):
    """The TVAE synthesizer, with the library's defaults but for the number of epochs."""

    epochs: int = 300

    def fit(self, dataset: Dataset, *, notebook: Path | None = None, progress: FitProgress = silent) -> FittedTvae:
        """Fits the records; raises InputError where there is nothing to learn or too much to hold."""
        from ctgan import TVAE

        del notebook  # it notes charges, and there are none
        flat = flat_table(dataset, generator="TVAE")
        table = flat.table(dataset.values)
        check_width(table, flat, generator="TVAE")
        with fitting(TVAE, epochs=self.epochs, progress=progress, **_SIZES) as model:
            model.fit(table, coded_columns(flat, progress))
        return FittedTvae(
            flat=flat,
            spans=spans_of(model.transformer),
            weights={name: weight.clone() for name, weight in model.decoder.state_dict().items()},
            total=float(len(dataset)),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedTvae:
    """A fitted TVAE: what sampling needs, and nothing about a single row."""

    flat: FlatTable
    spans: tuple[Span, ...]
    weights: Mapping[str, Any]
    total: float

    def sample(self, n: int, *, rng: np.random.Generator, where: Mapping[str, Within] | None = None) -> Values:
        """`n` encoded rows; equal seeds give equal rows on one platform. Raises InputError where `where` is hardly met."""
        import torch

        model = self._model(rng)
        with torch.no_grad():
            return draw(model.sample, n, codec=self.flat.codec, where=where)

    def _model(self, rng: np.random.Generator) -> Any:
        """The library's model with the weights, and our decoder in place of its transformer."""
        from ctgan import TVAE
        from ctgan.synthesizers.tvae import Decoder as Network

        model = TVAE(enable_gpu=False, **_SIZES)
        outputs = sum(span.outputs for span in self.spans)
        model.decoder = Network(_SIZES["embedding_dim"], _SIZES["decompress_dims"], outputs)
        model.decoder.load_state_dict(dict(self.weights))
        model.transformer = Decoder(flat=self.flat, spans=self.spans, shares=np.empty(0), rng=rng)
        model.set_random_state(int(rng.integers(2**31)))
        return model

    def save(self, folder: Path) -> None:
        """Writes tvae.json and tvae.safetensors into an existing folder."""
        document = {
            "table": self.flat.to_json(),
            "spans": [span.to_json() for span in self.spans],
            "total": self.total,
        }
        save(folder, _KIND, document, {name: weight.numpy() for name, weight in self.weights.items()})


def load_tvae(folder: Path, codec: Codec) -> FittedTvae:
    """The fitted TVAE that `save` wrote into `folder`; raises InputError where a file is missing or damaged."""
    import torch

    with saved(folder, _KIND) as (document, weights):
        flat = load_flat_table(document["table"], codec)
        fitted = FittedTvae(
            flat=flat,
            spans=load_spans(document["spans"], flat),
            weights={name: torch.from_numpy(weight) for name, weight in weights.items()},
            total=float(document["total"]),
        )
        fitted.sample(1, rng=np.random.default_rng(0))  # weights and spans fit together
    return fitted
