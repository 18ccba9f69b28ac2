"""P1 by transcripts: of the rows a private fit knows what charged mechanisms answered, and nothing else.

Each run is recorded on one table and replayed on a neighbour: no other path, no other result, no step above its charge.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from transcript import Call, Coins, cost, recorded, replayed

from workbench.config import SynthesizeConfig, TrainConfig
from workbench.data.dataset import Dataset
from workbench.data.reader import read_chunks
from workbench.errors import InputError
from workbench.generators import dp_ctgan, dp_ctgan_networks, independent
from workbench.generators.dp_ctgan import DpCtgan
from workbench.generators.marginals import measurement_log
from workbench.generators.marginals.estimate import Measurement
from workbench.generators.marginals.initial_measurements import Start
from workbench.generators.marginals.measurement_log import Notebook, Rows
from workbench.generators.registry import generator_of
from workbench.privacy.schema_search import SchemaSearch
from workbench.schema import Schema
from workbench.sisa.learners.vectorised_training import pinned
from workbench.sisa.training import event_of, learner_of, train_shard

K = 2
SCHEMA = Schema.model_validate(
    {
        "population": "people",
        "identity_type": "person",
        "subject": "who",
        "max_rows_per_subject": K,
        "columns": {
            "who": {"kind": "identifier", "role": "subject_id"},
            "sector": {"kind": "categorical", "categories": ["mine", "mill", "office"], "missing": True},
            "pay": {"kind": "continuous", "bounds": [0.0, 100.0], "bins": 4},
            "level": {"kind": "ordinal", "categories": ["low", "mid", "high"]},
            "rich": {"kind": "boolean", "role": "target"},
        },
    }
)
ROUNDING = 1 + 1e-9
EXTREMES = ("alone", "only holder", "all rows in one cell")
Pair = tuple[Dataset, Dataset, int]


def pairs(n: int, seed: int) -> Iterator[tuple[str, Pair]]:
    """Tables with and without one person, and the person's place among the people; every second pair is extreme."""
    for number in range(n):
        rng = np.random.default_rng([seed, number])
        kind = EXTREMES[number // 2 % len(EXTREMES)] if number % 2 == 0 else "any"
        people = 0 if kind == "alone" else int(rng.integers(1, 60))
        owners = np.repeat(np.arange(people), rng.integers(1, K + 1, people))
        values = _rows(len(owners), rng, sectors=2 if kind == "only holder" else 3)
        mine = _rows(K if kind != "any" else int(rng.integers(1, K + 1)), rng)
        if kind == "only holder":
            mine[:, 0] = 2
        if kind == "all rows in one cell":
            mine[:] = mine[0]
        points = rng.integers(0, 2**64, people + 1, dtype=np.uint64)
        without = _dataset(values, points[owners])
        with_ = without.joined(mine, *[np.repeat(points[-1:], len(mine))] * 2)
        yield kind, (with_, without, int((points[:-1] < points[-1]).sum()))


def _rows(n: int, rng: np.random.Generator, *, sectors: int = 3) -> Any:
    sector = rng.choice([*map(float, range(sectors)), np.nan], n)
    pay, level = rng.uniform(0, 100, n), rng.integers(0, 3, n)
    return np.stack([sector, pay, level, pay > 50], axis=1).astype(float)


def _dataset(values: Any, points: Any) -> Dataset:
    empty = Dataset(name="t", schema=SCHEMA, values=values[:0], points=points[:0], slice_points=points[:0])
    return empty.joined(values, points, points)


def generator(kind: str, shards: int) -> Any:
    return generator_of(
        SynthesizeConfig.model_validate(
            {"generator": kind, "dataset": "t", "epsilon": 3, "delta": 1e-5}
            | ({"shards": shards} if shards > 1 else {})
        )
    )


def audit_marginals(kind: str, pair: Pair, folder: Path, *, shards: int, swapped: bool) -> None:
    made = generator(kind, shards)
    first, second = (pair[1], pair[0]) if swapped else (pair[0], pair[1])

    def run(dataset: Dataset, name: str) -> dict[str, bytes]:
        (folder / name).mkdir(parents=True)
        made.fit(dataset, notebook=folder / f"{name}.jsonl").save(folder / name)
        return {path.name: path.read_bytes() for path in (folder / name).iterdir()}

    model, calls = recorded(lambda: run(first, "first"))
    again, others = replayed(lambda: run(second, "second"), calls)
    assert again == model, "another model"
    lines = [json.loads(line) for line in (folder / "first.jsonl").read_text().splitlines()]
    notes = [note for note in lines if note.keys() & {"values", "chosen"}]
    asked = iter(zip(calls, others, strict=True))
    for note in notes:
        spent = sum(cost(*next(asked)).rho for _ in range(shards if "values" in note else 1))
        assert spent <= note["rho"] * ROUNDING, "a step above its charge"
    assert next(asked, None) is None, "a mechanism that is not noted"
    assert sum(note["rho"] for note in notes) <= made.event.rho * ROUNDING


MARGINAL = [pytest.param(kind, n, id=kind) for kind, n in (("independent", 6), ("mst", 6), ("aim", 3))]
MANY = [pytest.param(kind, 300, id=f"{kind}, many", marks=pytest.mark.slow) for kind in ("independent", "mst", "aim")]


@pytest.mark.parametrize(("kind", "n"), [*MARGINAL, *MANY])
def test_marginal_generators_know_what_they_paid_for(kind: str, n: int, tmp_path: Path) -> None:
    for number, (_, pair) in enumerate(pairs(n, seed=n)):
        audit_marginals(kind, pair, tmp_path / str(number), shards=1 + 2 * (number % 3 == 1), swapped=number % 4 > 1)


def test_an_audit_notices_too_little_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = measurement_log.gaussian_sigma
    monkeypatch.setattr(measurement_log, "gaussian_sigma", lambda **price: honest(**price) / 1.1)
    *_, (kind, pair) = pairs(5, seed=4)
    assert kind == "all rows in one cell"
    with pytest.raises(AssertionError, match="above its charge"):
        audit_marginals("independent", pair, tmp_path, shards=1, swapped=False)


def test_an_audit_notices_a_look_at_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = independent.start

    def peeking(rows: Rows, notebook: Notebook, **how: Any) -> Start:
        begun = honest(rows, notebook, **how)

        def peeked(m: Measurement) -> Measurement:  # without noise, and in every cell: noise may merge or hide one
            return replace(m, values=len(rows.shards[0]) + np.arange(m.values.size, dtype=float))

        return replace(begun, ones=tuple(map(peeked, begun.ones)), small=tuple(map(peeked, begun.small)))

    monkeypatch.setattr(independent, "start", peeking)
    *_, (_, pair) = pairs(2, seed=4)
    with pytest.raises(AssertionError, match="another model"):
        audit_marginals("independent", pair, tmp_path, shards=1, swapped=False)


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less public arithmetic: what is asked of the rows stays as it is."""
    monkeypatch.setattr(dp_ctgan, "_CALIBRATIONS", 1)
    monkeypatch.setattr(dp_ctgan, "_AT_ONCE", 64)
    monkeypatch.setattr(dp_ctgan, "epsilon_of", lambda *_: 0.0)  # which progress shows
    monkeypatch.setattr(dp_ctgan_networks, "_GENERATOR_STEPS", 1)
    monkeypatch.setattr(dp_ctgan_networks, "_GENERATOR_ROWS", 8)


def audit_steps(calls: list[Call], others: list[Call], *, steps: int, noise: float, clip: float, rho: float) -> float:
    """No step tells more than one clipped gradient, at its noise; the rest costs rho at most. Returns the largest share."""
    costs = [cost(one, two) for one, two in zip(calls, others, strict=True)]
    taken = [(call, spent) for call, spent in zip(calls, costs, strict=True) if call.kind == "step"]
    assert len(taken) == steps
    assert all(call.question[:2] == (noise, clip) for call, _ in taken)
    assert all(spent.clipped <= 1 + 1e-4 for _, spent in taken)
    assert sum(spent.rho for spent in costs) <= rho * ROUNDING
    return max(spent.clipped for _, spent in taken)


DP_CTGAN = DpCtgan(epsilon=3, delta=1e-5, steps=3)
DP_CTGAN.__dict__["noise"] = 1.0  # solving for it takes longer than a fit


def audit_dp_ctgan(pair: Pair, *, swapped: bool) -> float:
    made = DP_CTGAN
    order = (pair[1], pair[0]) if swapped else (pair[0], pair[1])
    tables = [(dataset, _coins(pair, lacking=dataset is pair[1])) for dataset in order]
    with pinned():  # on several threads sums come in any order
        model, calls = recorded(lambda: made.fit(tables[0][0]), tables[0][1])
        again, others = replayed(lambda: made.fit(tables[1][0]), calls, tables[1][1])
    assert again.total == model.total
    assert {name: w.tobytes() for name, w in again.weights.items()} == {
        n: w.tobytes() for n, w in model.weights.items()
    }
    zcdp, sampled = made.event.events
    assert (sampled.count, sampled.event.sampling_probability) == (3, dp_ctgan._RATE)
    noise = sampled.event.event.noise_multiplier
    return audit_steps(calls, others, steps=3, noise=noise, clip=dp_ctgan_networks.CLIP, rho=zcdp.rho)


def _coins(pair: Pair, *, lacking: bool) -> Coins:
    return Coins(people=len(np.unique(pair[0].points)), apart=pair[2], lacking=lacking)


DP_MLP = TrainConfig.model_validate(
    {
        "learner": "dp_mlp",
        "dataset": "t",
        "shards": 2,
        "slices": 1,
        "rows": 400,
        "epochs": 1,
        "batch": 32,
        "hidden": [3],
        "epsilon": 3.0,
        "delta": 1e-5,
    }
)


def audit_dp_mlp(pair: Pair, *, swapped: bool) -> float:
    order = (pair[1], pair[0]) if swapped else (pair[0], pair[1])
    tables = [(dataset, _coins(pair, lacking=dataset is pair[1])) for dataset in order]
    models, calls = recorded(lambda: list(train_shard(tables[0][0], DP_MLP, shard=0)), tables[0][1])
    again, others = replayed(lambda: list(train_shard(tables[1][0], DP_MLP, shard=0)), calls, tables[1][1])
    assert again == models, "another model"
    event = event_of(DP_MLP)
    noise, clip = event.event.event.noise_multiplier, learner_of(DP_MLP).clip  # type: ignore[attr-defined]
    return audit_steps(calls, others, steps=event.count, noise=noise, clip=clip, rho=0.0)


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize(
    ("audit", "n"),
    [
        pytest.param(audit_dp_ctgan, 3, id="dp_ctgan"),
        pytest.param(audit_dp_mlp, 6, id="dp_mlp"),
        pytest.param(audit_dp_ctgan, 300, id="dp_ctgan, many", marks=pytest.mark.slow),
        pytest.param(audit_dp_mlp, 300, id="dp_mlp, many", marks=pytest.mark.slow),
    ],
)
def test_private_networks_know_what_they_paid_for(audit: Any, n: int) -> None:
    shares = [audit(pair, swapped=number % 4 > 1) for number, (_, pair) in enumerate(pairs(n, seed=n))]
    assert max(shares) > 0.5, "the person apart is in the steps"


CELLS = ["1", "1.0", "01", " 1", "2", "-3.5", "nan", "inf", "x", "x ", "y", "true", "1999-01-01", "2001-02-03", ""]


def table_pairs(n: int, seed: int) -> Iterator[tuple[str, int, pd.DataFrame, pd.DataFrame]]:
    """Tables as text with and without one person of k rows; every second pair is extreme."""
    for number in range(n):
        rng = np.random.default_rng([seed, number])
        kind, k = (EXTREMES[number // 2 % len(EXTREMES)] if number % 2 == 0 else "any"), 1 + number % 3
        rows = 0 if kind == "alone" else int(rng.integers(1, 80))
        whose = [f"p{i}" for i in range(rows)] if k == 1 else rng.choice(["p", "q", "r", "s", ""], rows)
        frame = _cells(whose, rng, CELLS[:8] if kind == "only holder" else CELLS)
        mine = _cells(["me"] * (k if kind != "any" or k == 1 else int(rng.integers(1, k + 3))), rng, CELLS)
        if kind == "only holder":
            mine["text"] = "held by one"
        if kind == "all rows in one cell":
            mine.iloc[:] = mine.iloc[0]
        both = pd.concat([frame, mine]).sample(frac=1.0, random_state=number)
        yield kind, k, both, both[both["who"] != "me"]


def _cells(whose: Any, rng: np.random.Generator, cells: list[str]) -> pd.DataFrame:
    n = len(whose)
    return pd.DataFrame(
        {
            "who": list(whose),
            "text": rng.choice(cells, n),
            "number": rng.integers(-3, 40, n).astype(str),
            "goal": rng.choice(["0", "1"], n),
        },
        dtype=object,
    )


def audit_search(k: int, with_: pd.DataFrame, without: pd.DataFrame, folder: Path, *, swapped: bool) -> None:
    search = SchemaSearch(epsilon=40.0, delta=0.01, max_rows_per_subject=k)
    folder.mkdir(parents=True)

    def run(frame: pd.DataFrame) -> str:
        kept = frame.drop(columns="who") if k == 1 else frame
        kept.to_csv(folder / "t.csv", index=False)
        asked: dict[str, Any] = {"target": "goal"} | ({"subject": "who"} if k > 1 else {})
        try:
            chunks = read_chunks(folder / "t.csv", may_be_empty=True)
            return search.find(chunks, population="people", **asked).to_yaml()
        except InputError as refusal:
            return str(refusal)

    first, second = (without, with_) if swapped else (with_, without)
    schema, calls = recorded(lambda: run(first))
    again, others = replayed(lambda: run(second), calls)
    assert again == schema, "another schema"
    costs = [cost(one, two) for one, two in zip(calls, others, strict=True)]
    charges = [(k / call.question[0]) ** 2 / 2 for call in calls]
    assert all(spent.rho <= charge * ROUNDING for spent, charge in zip(costs, charges, strict=True)), "above its charge"
    assert sum(charges) <= search.event.event.rho * ROUNDING
    assert sum(spent.failure for spent in costs) <= search.event.delta


@pytest.mark.parametrize("n", [12, pytest.param(300, marks=pytest.mark.slow)])
def test_the_schema_search_knows_what_it_paid_for(n: int, tmp_path: Path) -> None:
    for number, (_, k, with_, without) in enumerate(table_pairs(n, seed=n)):
        audit_search(k, with_, without, tmp_path / str(number), swapped=number % 4 > 1)
