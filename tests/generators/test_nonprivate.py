"""Gaussian copula, CTGAN and TVAE: what they learn, what they keep, and what they do with unusual tables."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from dp_accounting import NonPrivateDpEvent

from workbench.data.dataset import Dataset
from workbench.errors import InputError
from workbench.generators import rejection_sampling
from workbench.generators.ctgan import Ctgan, load_ctgan
from workbench.generators.flat_table import flat_table
from workbench.generators.gaussian_copula import GaussianCopula, load_gaussian_copula
from workbench.generators.tvae import Tvae, load_tvae
from workbench.progress import FitProgress
from workbench.schema.schema import parse_schema
from workbench.schema.value_sets import Within

KINDS: dict[str, tuple[Callable[[], Any], Callable[..., Any]]] = {
    "gaussian_copula": (GaussianCopula, load_gaussian_copula),
    "ctgan": (lambda: Ctgan(epochs=2), load_ctgan),
    "tvae": (lambda: Tvae(epochs=2), load_tvae),
}
COLUMNS: dict[str, Any] = {
    "town": {"kind": "categorical", "categories": ["Öland", "Åland", "東京"], "missing": True},
    "grade": {"kind": "ordinal", "categories": ["low", "middle", "high", "never seen"]},
    "paid": {"kind": "boolean"},
    "age": {"kind": "integer", "bounds": [0, 120]},
    "income": {"kind": "continuous", "bounds": [0, 1e6], "missing": True},
    "rate": {"kind": "continuous", "bounds": [0, 1e-4]},
    "seen": {"kind": "datetime", "bounds": ["2001-01-01T00:00:00", "2020-01-01T00:00:00"]},
}


def people(n: int = 300, *, columns: dict[str, Any] = COLUMNS, seed: int = 0) -> Dataset:
    """A data set of every kind of column, where an income is missing just for those who are not in `paid`."""
    rng = np.random.default_rng(seed)
    paid = rng.random(n) < 0.7
    income = np.where(paid, rng.gamma(3, 9_000, n), np.nan)
    every = {
        "town": rng.choice([0.0, 1.0, 2.0, np.nan], n),
        "grade": rng.integers(0, 3, n),
        "paid": paid,
        "age": rng.integers(18, 90, n),
        "income": income,
        "rate": rng.beta(2, 5, n) * 1e-4,
        "seen": np.floor(rng.random(n) * 4e14),
    }
    return dataset(np.column_stack([every[name] for name in columns]).astype(float), columns)


def dataset(values: np.ndarray, columns: dict[str, Any], constraints: Sequence[Any] = ()) -> Dataset:
    document = {
        "population": "people",
        "identity_type": "row",
        "subject": "row",
        "holdout": {"share": 0.2},
        "columns": columns,
        "constraints": list(constraints),
    }
    schema = parse_schema(document, source="test")
    places = np.arange(len(values), dtype=np.uint64)
    return Dataset(name="people", schema=schema, values=values, points=places, slice_points=places)


@cache
def fitted_to(kind: str, n: int = 300) -> Any:
    """Return a generator fitted to `people(n)`; those who read it share it."""
    return KINDS[kind][0]().fit(people(n))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_what_is_drawn_lies_in_the_domain_and_a_saved_generator_draws_the_same(kind: str, tmp_path: Path) -> None:
    data = people()
    generator, load = KINDS[kind]
    assert isinstance(generator().event, NonPrivateDpEvent)
    fitted = fitted_to(kind)
    fitted.save(tmp_path)
    drawn = fitted.sample(700, rng=np.random.default_rng(3))
    loaded = load(tmp_path, data.codec)
    assert loaded.total == fitted.total == 300
    np.testing.assert_array_equal(loaded.sample(700, rng=np.random.default_rng(3)), drawn)
    assert not np.array_equal(loaded.sample(700, rng=np.random.default_rng(4)), drawn, equal_nan=True)
    encoded = data.codec.encode(data.codec.decode(drawn))
    assert not encoded.dropped.any()
    assert not encoded.violations
    np.testing.assert_allclose(encoded.values, drawn)
    assert not (drawn[:, 1] == 3).any(), "a category that no row has"


def test_a_flat_table_comes_back_as_it_was() -> None:
    data = people()
    flat = flat_table(data, generator="test")
    table = flat.table(data.values)
    assert not table.isna().any(axis=None)
    np.testing.assert_allclose(flat.values(dict(table.items()), len(data)), data.values, rtol=1e-12)


def test_missing_numbers_stay_where_they_belong() -> None:
    drawn = GaussianCopula().fit(people(2000)).sample(4000, rng=np.random.default_rng(0))
    missing, unpaid = np.isnan(drawn[:, 4]), drawn[:, 2] == 0
    assert missing.mean() == pytest.approx(0.3, abs=0.04)
    assert np.isnan(drawn[:, 0]).mean() == pytest.approx(0.25, abs=0.04)
    # spreading categories over intervals weakens what goes with what, here from 1 to 0.56; were it lost, it would be 0.3
    assert (missing & unpaid).mean() > 0.45 * unpaid.mean()


@pytest.mark.slow
def test_networks_learn_what_goes_with_a_missing_number() -> None:
    drawn = Tvae(epochs=60).fit(people(1000)).sample(2000, rng=np.random.default_rng(0))
    missing, unpaid = np.isnan(drawn[:, 4]), drawn[:, 2] == 0
    assert (missing == unpaid).mean() > 0.9


def test_the_copula_is_sdvs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))  # SDV keeps a log there
    from sdv.metadata import Metadata
    from sdv.single_table import GaussianCopulaSynthesizer

    columns = {name: COLUMNS[name] for name in ("grade", "paid", "age")}
    data = people(3000, columns=columns)
    table = pd.DataFrame(data.values, columns=list(columns))
    table["grade"], table["paid"] = table["grade"].map("g{:.0f}".format), table["paid"].astype(bool)
    kinds = {"grade": "categorical", "paid": "boolean", "age": "numerical"}
    metadata = Metadata.load_from_dict(
        {"tables": {"t": {"columns": {name: {"sdtype": kind} for name, kind in kinds.items()}}}}
    )
    theirs = GaussianCopulaSynthesizer(metadata)
    theirs.fit({"t": table})
    known, ours = theirs._model.to_dict(), GaussianCopula().fit(data)
    assert {kind for kind, _ in ours.marginals} == {u["type"].rsplit(".", 1)[1] for u in known["univariates"]}
    age = dict(zip(known["columns"], known["univariates"], strict=True))["age"]
    assert ours.marginals[2].parameters == pytest.approx({key: v for key, v in age.items() if key != "type"}, rel=1e-6)
    assert abs(np.array(known["correlation"]) - ours.correlation).max() < 0.06  # both spread categories at random
    ages = theirs.sample(4000)["t"]["age"]
    drawn = ours.sample(4000, rng=np.random.default_rng(0))[:, 2]
    assert np.quantile(drawn, [0.1, 0.5, 0.9]) == pytest.approx(np.quantile(ages, [0.1, 0.5, 0.9]), abs=4)


def test_each_epoch_is_reported_and_whoever_is_told_can_stop_it() -> None:
    for generator in (Ctgan(epochs=3), Tvae(epochs=3)):
        told: list[tuple[float, str]] = []
        generator.fit(people(60), progress=lambda done, text, *, told=told, **_: told.append((done, text)))  # type: ignore[misc]
        assert told[-3:] == [(pytest.approx(i / 3), f"epoch {i} of 3") for i in (1, 2, 3)]
        assert told[:-3] == [(0.0, "encoding")] * len(told[:-3])
        assert len(told[:-3]) > len(COLUMNS), (
            "modes of a number take longer than an epoch: a stop is heeded between columns"
        )
        with pytest.raises(KeyError, match="stop"):
            generator.fit(people(60), progress=stop_at("epoch 2", told))
        assert told[-1][1] == "epoch 2 of 3"


def test_a_copula_reports_its_columns_and_can_be_stopped() -> None:
    told: list[tuple[float, str]] = []
    with pytest.raises(KeyError, match="stop"):
        GaussianCopula().fit(people(60), progress=stop_at("column 3", told))
    assert [text for _, text in told] == [f"column {i} of 8" for i in (1, 2, 3)]


def stop_at(text: str, told: list[tuple[float, str]]) -> FitProgress:
    def progress(done: float, found: str, **_: object) -> None:
        told.append((done, found))
        if found.startswith(text):
            raise KeyError("stop")

    return progress


def test_a_fit_sends_no_rows_to_other_processes() -> None:
    before = children()
    Ctgan(epochs=1).fit(people(600))  # from 500 rows on, the library spreads its encoding over processes
    assert children() == before


def children() -> set[str]:
    """The processes that this one started and has not waited for."""
    tasks = Path("/proc/self/task").iterdir()
    return {child for task in tasks for child in (task / "children").read_text().split()}


def reachable(root: Any) -> Iterator[Any]:
    """Everything that hangs on an object, by attributes, items and elements."""
    seen, stack = set(), [root]
    while stack:
        found = stack.pop()
        if id(found) in seen or isinstance(found, str | bytes | int | float | type(None) | type):
            continue
        seen.add(id(found))
        yield found
        stack += list(found.values()) if isinstance(found, dict) else []
        stack += list(found) if isinstance(found, list | tuple | set | frozenset) else []
        stack += list(vars(found).values()) if hasattr(found, "__dict__") else []


def recovered_columns(root: Any, n: int) -> list[np.ndarray]:
    """The attack: lists of row numbers that together name each of n rows once say which rows share a category."""
    columns = []
    for found in reachable(root):
        if not isinstance(found, list | tuple) or not found:
            continue
        groups = [np.asarray(group) for group in found if is_row_numbers(group)]
        if len(groups) != len(found):
            continue
        if np.array_equal(np.sort(np.concatenate(groups)), np.arange(n)):
            columns.append(
                np.repeat(np.arange(len(groups)), [len(g) for g in groups])[np.argsort(np.concatenate(groups))]
            )
    return columns


def is_row_numbers(found: Any) -> bool:
    if isinstance(found, np.ndarray):
        return found.ndim == 1 and found.dtype.kind in "iu"
    return isinstance(found, list | tuple) and all(isinstance(number, int) for number in found)


def test_row_numbers_that_the_library_keeps_are_not_kept_here(tmp_path: Path) -> None:
    from ctgan import CTGAN

    data = people(250)
    flat = flat_table(data, generator="CTGAN")
    table, coded = flat.table(data.values), [part.name for part in flat.parts if part.coded]
    theirs = CTGAN(epochs=1, enable_gpu=False)
    theirs.fit(table, coded)
    found = recovered_columns(cloudpickle.loads(cloudpickle.dumps(theirs)), len(data))
    assert sorted(same_rows(column) for column in found) == sorted(same_rows(table[name].to_numpy()) for name in coded)

    fitted = Ctgan(epochs=1).fit(data)
    fitted.save(tmp_path)
    loaded = load_ctgan(tmp_path, data.codec)
    assert recovered_columns(fitted, len(data)) == []
    assert recovered_columns(loaded, len(data)) == []
    assert recovered_columns(json.loads((tmp_path / "ctgan.json").read_text()), len(data)) == []
    assert recovered_columns(loaded._model(np.random.default_rng(0)), len(data)) == []


def same_rows(column: np.ndarray) -> list[int]:
    """For each row the first row that holds the same: a column of categories, whatever they are called."""
    _, first, inverse = np.unique(column, return_index=True, return_inverse=True)
    return [int(row) for row in first[inverse]]


def test_no_row_lies_in_the_files(kind: str, tmp_path: Path) -> None:
    data = people(400)
    values = data.values.copy()
    values[200, 3:] = canary = [61, 41234.5678912, 3.217654321e-05, 123456789012345]
    KINDS[kind][0]().fit(dataset(values, COLUMNS)).save(tmp_path)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert all(name.endswith((".json", ".safetensors")) for name in files)
    for content in files.values():
        assert not content.startswith(b"\x80"), "a pickle"
        for value in canary[1:]:
            stretched = value * 1e4 if value < 1 else value
            for form in (value, stretched):
                assert struct.pack("<d", form) not in content
                assert struct.pack("<f", form) not in content
                assert repr(form)[:8].encode() not in content
    sizes = [len(text) for text in re.findall(rb"\[[^\[\]]*\]", files[f"{kind}.json"])]
    assert max(sizes) < 2_000, "no list grows with the rows"


def test_files_do_not_grow_with_the_rows(tmp_path: Path) -> None:
    sizes = []
    for n in (300, 600):
        fitted = Ctgan(epochs=1).fit(people(n, columns={name: COLUMNS[name] for name in ("town", "grade", "paid")}))
        folder = tmp_path / str(n)
        folder.mkdir()
        fitted.save(folder)
        sizes.append((folder / "ctgan.safetensors").stat().st_size)
    assert sizes[0] == sizes[1]


def test_too_few_rows_are_refused(kind: str) -> None:
    for n in (0, 1):
        with pytest.raises(InputError, match=f"at least 2 rows; people has {n}"):
            KINDS[kind][0]().fit(people(5).rows(np.arange(5) < n))


def test_a_table_of_one_value_per_column_is_refused(kind: str) -> None:
    with pytest.raises(InputError, match="every column of people holds one value"):
        KINDS[kind][0]().fit(dataset(np.tile(people(1).values, (6, 1)), COLUMNS))


def test_columns_of_one_value_keep_it(kind: str) -> None:
    columns = {
        "only": {"kind": "integer", "bounds": [7, 7]},
        "same": {"kind": "continuous", "bounds": [0, 1]},
        "none": {"kind": "continuous", "bounds": [0, 1], "missing": True},
        "one": {"kind": "categorical", "categories": ["a"]},
        "x": {"kind": "continuous", "bounds": [0, 1]},
    }
    x = np.random.default_rng(0).random(40)
    values = np.column_stack([np.full(40, 7), np.full(40, 0.3), np.full(40, np.nan), np.zeros(40), x])
    drawn = KINDS[kind][0]().fit(dataset(values, columns)).sample(30, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(drawn[:, :4], values[:30, :4])
    assert len(np.unique(drawn[:, 4])) > 20


@pytest.mark.parametrize("n", [2, 3, 12])
def test_fewer_rows_than_columns_are_learnt_from(kind: str, n: int) -> None:
    data = people(n)
    drawn = KINDS[kind][0]().fit(data).sample(50, rng=np.random.default_rng(0))
    assert drawn.shape == (50, 7)
    assert not data.codec.encode(data.codec.decode(drawn)).violations


def test_a_column_of_unique_categories_is_learnt_from(kind: str) -> None:
    columns = {"name": {"kind": "categorical", "categories": [str(i) for i in range(80)]}, "age": COLUMNS["age"]}
    values = np.column_stack([np.arange(80), np.random.default_rng(0).integers(0, 99, 80)]).astype(float)
    drawn = KINDS[kind][0]().fit(dataset(values, columns)).sample(400, rng=np.random.default_rng(0))
    assert len(np.unique(drawn[:, 0])) > 10


def test_a_table_too_wide_for_a_network_is_refused_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.generators.mode_encoding.MOST_CELLS", 300 * 20)
    for generator in (Ctgan(), Tvae()):
        with pytest.raises(InputError, match="at most 6,000 cells") as refused:
            generator.fit(people())
        assert "gaussian_copula" in refused.value.hint


def test_conditions_are_met_or_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = fitted_to(kind)
    # of so few rows a network may learn any town alone: asked for is what it draws
    rows = fitted.sample(100, rng=np.random.default_rng(1))
    town, age = rows[~np.isnan(rows[:, 0])][0, [0, 3]]
    where = {"town": Within(codes=frozenset({int(town)})), "age": Within(low=age - 10, high=age + 10)}
    drawn = fitted.sample(200, rng=np.random.default_rng(0), where=where)
    assert len(drawn) == 200
    assert (drawn[:, 0] == town).all()
    assert (np.abs(drawn[:, 3] - age) <= 10).all()
    monkeypatch.setattr(rejection_sampling, "_TRIES", 5)
    with pytest.raises(InputError, match="only 0 of 10,000 drawn rows meet the condition"):
        fitted.sample(5, rng=np.random.default_rng(0), where={"grade": Within(codes=frozenset({3}))})


def test_what_the_schema_says_of_whole_rows_holds_for_every_row(kind: str, tmp_path: Path) -> None:
    columns = {
        "town": {"kind": "categorical", "categories": ["a", "b", "c"], "missing": True},
        "zip": {"kind": "integer", "bounds": [0, 9], "missing": True},
        "job": {"kind": "categorical", "categories": ["none", "some"]},
        "hours": {"kind": "integer", "bounds": [0, 60]},
    }
    determined = {"determined": {"column": "zip", "by": "town", "values": {"a": 3, "b": 5, "c": 8}}}
    never = {"never": {"job": ["none"], "hours": [1, 60]}}
    rng = np.random.default_rng(0)
    town, job = rng.choice([0.0, 1.0, 2.0, np.nan], 300), rng.integers(0, 2, 300)
    zips = np.array([3.0, 5.0, 8.0, np.nan])[np.nan_to_num(town, nan=3).astype(int)]
    values = np.column_stack([town, zips, job, job * rng.integers(1, 61, 300)]).astype(float)
    data = dataset(values, columns, [determined, never])
    fitted = KINDS[kind][0]().fit(data)
    fitted.save(tmp_path)
    for one in (fitted, KINDS[kind][1](tmp_path, data.codec)):
        drawn = one.sample(
            200, rng=np.random.default_rng(0), where={"town": Within(codes=frozenset({1}), missing=True)}
        )
        assert len(drawn) == 200
        assert not data.codec.encode(data.codec.decode(drawn)).violations
        np.testing.assert_array_equal(drawn[:, 1], np.where(np.isnan(drawn[:, 0]), np.nan, 5))
        assert np.isnan(drawn[:, 0]).any() or kind == "tvae", "of so few rows it may learn any town alone"


def test_missing_and_damaged_files_are_refused(kind: str, tmp_path: Path) -> None:
    data = people(60)
    load = KINDS[kind][1]
    with pytest.raises(InputError, match="holds no readable"):
        load(tmp_path, data.codec)
    fitted_to(kind, 60).save(tmp_path)
    other = people(60, columns={name: COLUMNS[name] for name in ("town", "age")})
    with pytest.raises(InputError, match="another schema"):
        load(tmp_path, other.codec)
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for damaged in (whole[: len(whole) // 2], b"", b"\x00" * 64):
            path.write_bytes(damaged)
            with pytest.raises(InputError, match="holds no readable"):
                load(tmp_path, data.codec)
        path.write_bytes(whole)
    load(tmp_path, data.codec)


@pytest.mark.parametrize(
    ("kind", "place", "value"),
    [
        ("tvae", ["table", "gaps"], [3]),
        ("tvae", ["table", "gaps"], [99]),
        ("tvae", ["table", "fixed"], {"0": 17}),
        ("tvae", ["spans", 0, "codes"], [0, 1, 9, 2]),
        ("tvae", ["spans", 0, "codes"], [0, 1]),
        ("tvae", ["spans", 3, "widths"], [1.0]),
        ("tvae", ["total"], None),
        ("tvae", ["format"], "other"),
        ("ctgan", ["shares"], [1.0]),
        ("gaussian_copula", ["marginals", 0, "kind"], "GaussianKDE"),
        ("gaussian_copula", ["marginals", 0, "kind"], "os.system"),
        ("gaussian_copula", ["correlation"], [[1.0]]),
        ("gaussian_copula", ["correlation", 0, 0], None),
        ("gaussian_copula", ["shares", "0"], [1.0]),
    ],
)
def test_files_that_do_not_fit_together_are_refused(kind: str, place: list[Any], value: Any, tmp_path: Path) -> None:
    data = people(60)
    load = KINDS[kind][1]
    fitted_to(kind, 60).save(tmp_path)
    path = tmp_path / f"{kind}.json"
    document = inner = json.loads(path.read_text())
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    path.write_text(json.dumps(document))
    with pytest.raises(InputError):
        load(tmp_path, data.codec)
