"""What every generator of the registry promises the rest of the workbench, whatever is in it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dp_accounting import NonPrivateDpEvent

from workbench.config import SynthesizeConfig
from workbench.data.dataset import Dataset
from workbench.errors import InputError
from workbench.generators import dp_ctgan
from workbench.generators.generator import FittedGenerator
from workbench.generators.registry import GENERATORS, generator_of, load_generator
from workbench.privacy.calibration import epsilon_of, filter_order
from workbench.schema import Codec, Schema
from workbench.schema.conditions import parse_where

KINDS = GENERATORS.names()
PRIVATE = [spec.name for spec in GENERATORS if spec.private]
FEW = {"steps": 2, "epochs": 2}  # of the networks
SCHEMA = Schema.model_validate(
    {
        "population": "people",
        "identity_type": "person",
        "subject": "who",
        "max_rows_per_subject": 2,
        "columns": {
            "who": {"kind": "identifier", "role": "subject_id"},
            "age": {"kind": "integer", "bounds": [0, 99], "bins": 10},
            "pay": {"kind": "continuous", "bounds": [0.0, 1000.0], "bins": 8, "missing": True},
            "sector": {"kind": "categorical", "categories": ["mine", "mill", "office"]},
            "level": {"kind": "ordinal", "categories": ["low", "mid", "high"]},
            "member": {"kind": "boolean", "missing": True},
            "land": {"kind": "categorical", "categories": ["here"]},
            "rich": {"kind": "categorical", "categories": ["no", "yes"], "role": "target"},
        },
    }
)
CODEC = Codec(SCHEMA)
CANARY = 73.0  # an age that one person has


def table(n: int, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 60, n)
    pay = np.where(rng.random(n) < 0.1, np.nan, np.round(rng.uniform(0, 1000, n), 3))
    frame = pd.DataFrame(
        {
            "age": age,
            "pay": pay,
            "sector": rng.choice(["mine", "mill", "office"], n, p=[0.6, 0.3, 0.1]),
            "level": np.where(age > 40, "high", "low"),
            "member": pd.array(np.where(rng.random(n) < 0.2, None, rng.random(n) < 0.5), dtype="boolean"),
            "land": "here",
            "rich": np.where(np.nan_to_num(pay) > 600, "yes", "no"),
        }
    )
    values = CODEC.encode(frame).values
    points = np.repeat(rng.integers(0, 2**64, (n + 1) // 2, dtype=np.uint64), 2)[:n]
    return Dataset(name="people", schema=SCHEMA, values=values, points=points, slice_points=points)


def config(kind: str, **more: object) -> SynthesizeConfig:
    budget = {"epsilon": 1.0, "delta": 1e-5} if kind in PRIVATE else {}
    few = {name: value for name, value in FEW.items() if name in GENERATORS[kind].settings.model_fields}
    return SynthesizeConfig.model_validate({"generator": kind, "dataset": "people", **budget, **few, **more})


@pytest.fixture(autouse=True, scope="module")
def few_at_once() -> Iterator[None]:
    """DP-CTGAN ends its fit with 20 draws of so many rows each, which cost ten times what two steps do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dp_ctgan, "_AT_ONCE", 2**9)
        yield


@cache
def _fitted(kind: str) -> FittedGenerator:
    return generator_of(config(kind)).fit(table(400))


@pytest.fixture(params=KINDS)
def fitted(request: pytest.FixtureRequest) -> tuple[str, FittedGenerator]:
    return request.param, _fitted(request.param)


def rows(generator: FittedGenerator, n: int = 200, seed: int = 1, **more: object) -> np.ndarray:
    return generator.sample(n, rng=np.random.default_rng(seed), **more)  # type: ignore[arg-type]


def test_rows_lie_in_the_public_domain(fitted: tuple[str, FittedGenerator]) -> None:
    frame = CODEC.decode(rows(fitted[1]))
    encoded = CODEC.encode(frame)
    assert len(frame) == 200
    assert not encoded.violations
    assert not encoded.dropped.any()
    assert set(frame["land"]) == {"here"}


def test_a_price_is_told_beforehand(fitted: tuple[str, FittedGenerator]) -> None:
    event = generator_of(config(fitted[0])).event
    if fitted[0] in PRIVATE:
        assert 0.98 < epsilon_of(event, 1e-5, orders=(filter_order(1.0, 1e-5),)) <= 1.0
    else:
        assert isinstance(event, NonPrivateDpEvent)
        assert epsilon_of(event, 1e-5) == math.inf


def test_what_is_saved_draws_the_same_rows_and_holds_no_number_of_a_person(
    fitted: tuple[str, FittedGenerator], tmp_path: Path
) -> None:
    kind, generator = fitted
    generator.save(tmp_path)
    loaded = load_generator(kind, tmp_path, CODEC)
    np.testing.assert_array_equal(rows(generator), rows(loaded))
    assert loaded.total == generator.total
    saved = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors", ".jsonl"}
    pay = table(400).values[:, 1]
    assert not any(np.float64(one).tobytes() in saved for one in pay[~np.isnan(pay)] if one % 1)


def test_equal_generators_of_chance_give_equal_rows(fitted: tuple[str, FittedGenerator]) -> None:
    np.testing.assert_array_equal(rows(fitted[1], seed=3), rows(fitted[1], seed=3))
    assert (np.nan_to_num(rows(fitted[1], seed=3)) != np.nan_to_num(rows(fitted[1], seed=4))).any()


def test_conditions_hold_for_every_row(fitted: tuple[str, FittedGenerator]) -> None:
    where = parse_where(CODEC, ["sector=mine|mill", "age=20..59"])
    frame = CODEC.decode(rows(fitted[1], where=where))
    assert len(frame) == 200
    assert set(frame["sector"]) <= {"mine", "mill"}
    assert frame["age"].between(20, 59).all()


def test_damaged_files_are_refused(fitted: tuple[str, FittedGenerator], tmp_path: Path) -> None:
    kind, generator = fitted
    with pytest.raises(InputError):
        load_generator(kind, tmp_path, CODEC)
    generator.save(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError):
        load_generator(kind, tmp_path, CODEC)


@pytest.mark.parametrize("n", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_hardly_any_rows_are_fitted_or_refused_in_plain_words(kind: str, n: int) -> None:
    generator = generator_of(config(kind))
    if kind in PRIVATE:  # whether there are rows is private: nothing may be refused because of it
        assert len(rows(generator.fit(table(n)), 20)) == 20
        return
    try:
        assert len(rows(generator.fit(table(n)), 20)) == 20
    except InputError as refused:
        assert "rows" in str(refused)  # noqa: PT017


@pytest.mark.parametrize("kind", KINDS)
def test_progress_rises_to_its_end_and_can_stop_the_fit(kind: str) -> None:
    told: list[float] = []
    generator_of(config(kind)).fit(table(60), progress=lambda fraction, _, **__: told.append(fraction))
    assert told == sorted(told)
    assert 0 <= told[0] <= told[-1] <= 1

    def stop(_fraction: float, _: str, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generator_of(config(kind)).fit(table(60), progress=stop)
