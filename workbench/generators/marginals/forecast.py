"""What fitting a marginal generator will take, from the public domain alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from workbench.errors import InputError
from workbench.generators.marginals.domain import Clique, Domain
from workbench.generators.outlook import Forecast
from workbench.privacy.mechanisms import gaussian_sigma

# The most bytes a fit may be expected to take.
MOST_BYTES = 4 << 30
# Cells of all tables of a model, at most.
MODEL_CELLS = 2**18
# Seconds, measured on 2 cores of 2.5 GHz: a round of choosing and fitting, and counting 100,000 rows in one marginal.
_ROUND = 0.13
_COUNT = 0.001
_CELL = 8  # bytes


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a method will measure on a domain.

    `candidates` are the marginals that it looks at, all of them held at once or one after another; `measurements` say in words
    what is measured, with the zCDP price of one such measurement.
    """

    measurements: Mapping[str, float] = field(default_factory=dict)
    candidates: Sequence[Clique] = ()
    all_held: bool = False
    rounds: int = 0


def forecast(
    name: str, outlook: Outlook, *, shards: int, columns: Sequence[str], sizes: Sequence[int], per_subject: int
) -> Forecast:
    """Noise, memory and seconds; raises InputError where it would take more memory than a fit may."""
    domain = Domain(tuple(columns), tuple(sizes))
    cells = [domain.cells(c) for c in outlook.candidates]
    held = sum(cells) * shards if outlook.all_held else 4 * max(cells, default=0)
    tables = (held + 20 * MODEL_CELLS + 4 * sum(sizes) * shards) * _CELL
    if tables > MOST_BYTES:
        raise InputError(
            f"{name} would hold {tables / 2**30:.1f} GiB of marginals, the most is {MOST_BYTES / 2**30:.0f}",
            hint="declare coarser bins or fewer categories, or drop columns",
        )
    return Forecast(
        columns=len(columns),
        cells={"largest column": max(sizes), "largest marginal": max(cells, default=0)},
        marginals_considered=len(cells),
        noise=_noise(outlook, shards, per_subject),
        memory_bytes=tables,
        seconds=round(0.5 + outlook.rounds * _ROUND, 1),
        seconds_per_100000_rows=round(len(cells) * _COUNT, 2),
    )


def _noise(outlook: Outlook, shards: int, per_subject: int) -> dict[str, float | str]:
    """The standard deviation of a count, in rows."""
    factor = math.sqrt(shards)
    found: dict[str, float | str] = {
        what: round(gaussian_sigma(rho=rho, sensitivity=per_subject) * factor, 1)
        for what, rho in outlook.measurements.items()
    }
    if shards > 1:
        found["price of shards"] = f"{factor:.3g} times the noise of one shard"
    return found
