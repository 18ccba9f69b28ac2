"""What fitting a marginal generator will take, from the public domain alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

from workbench.config import SynthesizeConfig
from workbench.errors import InputError
from workbench.generators.aim import MOST_CELLS, ROUNDS_PER_COLUMN, candidates_of, first_round_rho
from workbench.generators.marginals.domain import Domain
from workbench.generators.mst import MOST_PAIR_CELLS
from workbench.privacy.calibration import zcdp_rho
from workbench.privacy.mechanisms import gaussian_sigma

# The most bytes a fit may be expected to take.
MOST_BYTES = 4 << 30
# Seconds, measured on 2 cores of 2.5 GHz: a round of AIM, and counting 100,000 rows in one marginal.
_ROUND = 0.13
_COUNT = 0.001
_CELL = 8  # bytes


def forecast(
    config: SynthesizeConfig, names: Sequence[str], sizes: Sequence[int], *, per_subject: int
) -> dict[str, Any]:
    """Noise, memory and seconds; raises InputError where it would take more memory than a fit may."""
    domain = Domain(tuple(names), tuple(sizes))
    candidates = _candidates(config.generator, domain)
    cells = [domain.cells(c) for c in candidates]
    held = sum(cells) * config.shards if config.generator == "aim" else 4 * max(cells, default=0)
    tables = (held + 20 * MOST_CELLS + 4 * sum(sizes) * config.shards) * _CELL
    if tables > MOST_BYTES:
        raise InputError(
            f"{config.generator} would hold {tables / 2**30:.1f} GiB of marginals, the most is {MOST_BYTES / 2**30:.0f}",
            hint="declare coarser bins or fewer categories, or drop columns",
        )
    rounds = min(ROUNDS_PER_COLUMN * len(names), 50) if config.generator == "aim" else 0
    return {
        "columns": len(names),
        "cells": {"largest column": max(sizes), "largest marginal": max(cells, default=0)},
        "marginals_considered": len(candidates),
        "noise": _noise(config, len(names), per_subject),
        "memory_bytes": tables,
        "seconds": round(0.5 + rounds * _ROUND, 1),
        "seconds_per_100000_rows": round(len(candidates) * _COUNT, 2),
    }


def check_memory(config: SynthesizeConfig, names: Sequence[str], sizes: Sequence[int]) -> None:
    """Raises InputError where a fit would take more memory than it may, or there are too many columns for it."""
    forecast(config, names, sizes, per_subject=1)


def _candidates(generator: str, domain: Domain) -> list[tuple[str, ...]]:
    if generator == "aim" and len(domain.names) > 1:
        return candidates_of(domain)
    if generator == "mst":
        return [pair for pair in combinations(domain.names, 2) if domain.cells(pair) <= MOST_PAIR_CELLS]
    return []


def _noise(config: SynthesizeConfig, columns: int, per_subject: int) -> dict[str, float | str]:
    """The standard deviation of a count, in rows."""
    rho = zcdp_rho(*config.budget)
    one_way = {"aim": 0.15, "mst": 0.2, "independent": 1.0}[config.generator] if columns > 1 else 1.0
    shards = math.sqrt(config.shards)
    told: dict[str, float | str] = {
        "single columns, about": round(gaussian_sigma(rho=rho * one_way / columns, sensitivity=per_subject) * shards, 1)
    }
    if config.generator == "aim" and columns > 1:
        first = first_round_rho(rho, columns)
        told["first rounds"] = round(gaussian_sigma(rho=first, sensitivity=per_subject) * shards, 1)
    if config.generator == "mst" and columns > 1:
        told["pairs of columns, about"] = round(
            gaussian_sigma(rho=rho * 0.6 / (columns - 1), sensitivity=per_subject) * shards, 1
        )
    if config.shards > 1:
        told["price of shards"] = f"{shards:.3g} times the noise of one shard"
    return told
