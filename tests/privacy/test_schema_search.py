"""A private search for a schema learns from noisy counts alone, pays for each beforehand, and names nothing rare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workbench.data.bundled import bundled_path
from workbench.errors import BudgetError, InputError
from workbench.privacy import schema_search as module
from workbench.privacy.calibration import epsilon_of
from workbench.privacy.ledger import Ledger
from workbench.privacy.schema_search import SchemaSearch, tally
from workbench.schema import Codec, Column, Schema, read_schema
from workbench.state.workspace import Workspace
from workbench.workflows.datasets import propose_schema as propose
from workbench.workflows.datasets.budget import set_population_budget
from workbench.workflows.datasets.propose_schema import propose_schema_privately
from workbench.workflows.datasets.results import PrivateSchema

N = 4_000
RARE = "zq-rare"


def _find(frame: pd.DataFrame, *, epsilon: float = 8.0, k: int = 1, **columns: str) -> Schema:
    search = SchemaSearch(epsilon=epsilon, delta=1e-6, max_rows_per_subject=k)
    size = max(1, len(frame) // 3)
    chunks = [frame.iloc[start : start + size] for start in range(0, len(frame), size)]
    return search.find(chunks, population="people", **columns)


def _column(cells: Any, **options: Any) -> Column:
    return _find(pd.DataFrame({"x": cells, "pad": np.resize(["a", "b"], len(cells))}), **options).columns["x"]


@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_rare_values_are_never_named_and_common_ones_are(epsilon: float) -> None:
    """The threshold lets a value of one person through with probability under 1e-7 a run."""
    frame = pd.DataFrame(
        {
            "x": ["often"] * (N - 3) + [f"{RARE}-{i}" for i in range(3)],
            "n": [40, 50] * (N // 2 - 1) + [123_457, -98_765],
            "y": ["a", "b"] * (N // 2),
        }
    )
    for _ in range(15):
        text = _find(frame, epsilon=epsilon).to_yaml()
        assert RARE not in text
        assert "123457" not in text
        assert "98765" not in text
        assert "often" in text


def test_of_a_person_who_repeats_a_value_only_the_bound_counts() -> None:
    pupils = [f"p{i}" for i in range(N)] + ["loud"] * N
    frame = pd.DataFrame({"pupil": pupils, "x": ["a"] * N + [RARE] * N, "n": [5] * N + [70_001] * N})
    schema = _find(frame, k=2, subject="pupil")
    assert schema.columns["x"].categories == ("a", "other")
    assert schema.columns["n"].high < 100
    assert (schema.subject, schema.max_rows_per_subject, schema.over_limit) == ("pupil", 2, "drop")
    assert _find(frame.drop(columns="pupil")).columns["x"].categories == ("a", RARE, "other")


KINDS: dict[str, tuple[Any, str, str]] = {
    "boolean": ([True, False] * (N // 2), "boolean", "feature"),
    "boolean text": (["true", "FALSE"] * (N // 2), "boolean", "feature"),
    "integer": ([13, 55, 87, 20] * (N // 4), "integer", "feature"),
    "integer with gaps": ([1.0, None, 3.0, 2.0] * (N // 4), "integer", "feature"),
    "integer with a stray text": (["13", "55"] * (N // 2 - 5) + ["?"] * 10, "integer", "feature"),
    "continuous": (np.linspace(0.1, 7.7, N), "continuous", "feature"),
    "date": ([f"2020-01-{1 + i % 28:02d}" for i in range(N)], "datetime", "feature"),
    "text": (["ä", "🙂"] * (N // 2), "categorical", "feature"),
    "a code with leading zeros": ([f"0{1000 + i % 5}" for i in range(N)], "categorical", "feature"),
    "serial number": (list(range(N)), "identifier", "drop"),
    "serial text": ([f"{RARE}-{i}" for i in range(N)], "text", "drop"),
    "prose": ([f"a long remark about {RARE} {i}" for i in range(N)], "text", "drop"),
    "nothing": ([None] * N, "text", "drop"),
    "infinity": ([0.5, float("inf"), 1.5, 2.5] * (N // 4), "continuous", "feature"),
}


@pytest.mark.parametrize("name", KINDS)
def test_the_kind_of_a_column_is_found(name: str) -> None:
    cells, kind, role = KINDS[name]
    column = _column(cells)
    assert (column.kind, column.role, column.reviewed) == (kind, role, False)


def test_bounds_enclose_what_is_common_and_stay_near_it() -> None:
    ages = np.random.default_rng(0).integers(17, 91, 20_000)
    column = _column(ages)
    assert 16 <= column.low <= 17
    assert 90 <= column.high <= 92
    assert _column([7] * N).bounds == (7, 7)
    assert _column([0] * N).bounds == (0, 0)
    assert _column([-3, -9] * (N // 2)).bounds == (-9, -3)
    day = _column(["1987-05-06", "2003-04-01T12:30:00+02:00"] * (N // 2)).bounds or ()
    assert [bound.isoformat() for bound in day] == ["1987-01-01T00:00:00", "2004-01-01T00:00:00"]  # type: ignore[union-attr]


def test_gaps_are_seen_where_there_are_enough() -> None:
    assert _column([1, None] * (N // 2)).missing
    assert not _column([1, 2] * (N // 2)).missing


def test_a_target_of_few_values_is_a_class_and_of_many_a_number() -> None:
    frame = pd.DataFrame({"grade": [0, 1] * (N // 2), "pay": np.random.default_rng(0).integers(0, 50_000, N)})
    grade = _find(frame, target="grade").columns["grade"]
    assert (grade.categories, grade.role, grade.out_of_domain) == (("0", "1"), "target", "drop")
    assert _find(frame, target="pay").columns["pay"].kind == "integer"
    with pytest.raises(InputError, match="no class or range of the target column 'x'") as caught:
        _find(pd.DataFrame({"x": [f"{RARE}{i}" for i in range(N)], "y": [1] * N}), target="x")
    assert RARE not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "target", "subject", "k"),
    [("adult", "income", None, 1), ("oulad", "final_result", "id_student", 3)],
)
def test_the_found_schema_takes_in_nearly_all_of_its_table(name: str, target: str, subject: str | None, k: int) -> None:
    frame = pd.read_parquet(bundled_path(f"{name}.parquet"))
    columns = {"target": target} | ({"subject": subject} if subject else {})
    schema = _find(frame, epsilon=2.0, k=k, **columns)
    _, dropped, violations, _ = Codec(schema).encode(frame)
    assert violations == []
    assert dropped.mean() < 0.02
    assert schema.target == target
    assert schema.unreviewed == tuple(schema.encoded)
    assert schema.population == "people"


def test_a_table_of_nobody_is_searched_as_one_of_a_single_person_is(workspace: Workspace, tmp_path: Path) -> None:
    """Whether there is one person or none must not be seen without noise: what is said is the same."""
    Ledger(workspace.engine).set_budget("people", epsilon=4, delta=1e-5)
    refusals = set()
    for name, rows in (("nobody", ""), ("somebody", "17,Oland\n")):
        (tmp_path / f"{name}.csv").write_text(f"age,town\n{rows}")
        pd.DataFrame({"age": [17], "town": ["Oland"]}).iloc[: len(rows)].to_parquet(tmp_path / f"{name}.parquet")
        for ending in ("csv", "parquet"):
            with pytest.raises(InputError) as caught:
                _propose(workspace, tmp_path / f"{name}.{ending}", tmp_path / "s.yaml")
            refusals.add(str(caught.value))
    assert len(refusals) == 1
    assert "no schema can be guessed" in refusals.pop()


TINY = {
    "three rows": pd.DataFrame({"x": ["a", "b", "a"], "n": [1, 2, 3]}),
    "more columns than rows": pd.DataFrame({f"c{i}": [RARE, "b"] for i in range(30)}),
    "no rows": pd.DataFrame({"x": []}),
}


@pytest.mark.parametrize("name", TINY)
def test_a_table_too_small_to_tell_anything_is_refused_without_a_cell(name: str) -> None:
    with pytest.raises(InputError, match="no schema can be guessed") as caught:
        _find(TINY[name], epsilon=1.0)
    assert RARE not in str(caught.value)


def test_no_chunk_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="no schema can be guessed"):
        SchemaSearch(epsilon=1, delta=1e-6).find([], population="people")


# --- what the accounting rests on ---

CELLS = [
    "1",
    "1.0",
    "01",
    " 1",
    "2",
    "-3.5",
    "nan",
    "inf",
    "x",
    "x ",
    "y",
    "true",
    "TRUE",
    "1999-01-01",
    "2001-02-03",
    "",
]


def _random_table(rng: np.random.Generator) -> pd.DataFrame:
    n = int(rng.integers(1, 14))
    numbers = rng.integers(-3, 40, n).astype(object)
    numbers[rng.random(n) < 0.2] = None
    return pd.DataFrame(
        {
            "who": rng.choice(np.array(["p", "q", "r", "s", None], dtype=object), n),
            "text": rng.choice(np.array([*CELLS, None], dtype=object), n),
            "number": pd.Series(numbers, dtype=object).astype(float) if None in numbers else numbers.astype(int),
            "same": ["1"] * n,
            "spelt": rng.choice(["1", "1.0", "1.00", "2"], n),
            "goal": rng.choice(["0", "1"], n),
        }
    )


def _asked(
    frame: pd.DataFrame, k: int, answers: list[Any] | None, patch: pytest.MonkeyPatch, *, epsilon: float = 40.0
) -> tuple[list[Any], list[Any], float]:
    """The exact counts that a search would make noisy, the noisy answers, and the rho of it all; answers may be given."""
    counts: list[Any] = []
    given: list[Any] = []
    rho = 0.0
    real = {"gaussian_counts": module.gaussian_counts, "common_counts": module.common_counts}

    def spy(name: str) -> Callable[..., Any]:
        def asked(exact: Any, *, sigma: float, **options: Any) -> Any:
            nonlocal rho
            rho += (k / sigma) ** 2 / 2
            counts.append(dict(exact) if isinstance(exact, Counter) else dict(enumerate(exact.tolist())))
            answer = real[name](exact, sigma=sigma, **options) if answers is None else answers[len(counts) - 1]
            given.append(answer)
            return answer

        return asked

    with patch.context() as during:
        for name in real:
            during.setattr(module, name, spy(name))
        search = SchemaSearch(epsilon=epsilon, delta=0.01, max_rows_per_subject=k)
        subject = "who" if k > 1 else None
        chunks = [frame.iloc[:5], frame.iloc[5:]] if len(frame) > 5 else [frame]
        with suppress(InputError):
            search.find(chunks, population="people", target="goal", subject=subject)
        assert rho <= search.event.event.rho * (1 + 1e-9)
    return counts, given, rho


def test_a_search_spends_what_it_charged_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    ages = [str(number) for number in range(20, 60)] * 100
    frame = pd.DataFrame({"who": [f"p{i}" for i in range(N)], "n": ages, "goal": ["0", "1"] * (N // 2)})
    *_, rho = _asked(frame.drop(columns="who"), 1, None, monkeypatch, epsilon=1.0)
    event = SchemaSearch(epsilon=1.0, delta=0.01).event
    assert 0.5 * event.event.rho < rho <= event.event.rho * (1 + 1e-9)
    assert 0.99 < epsilon_of(event, 0.01) <= 1.0


def test_the_failure_is_shared_among_the_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    deltas: list[float] = []
    real = module.threshold_for
    monkeypatch.setattr(module, "threshold_for", lambda **asked: (deltas.append(asked["delta"]), real(**asked))[1])
    _find(pd.DataFrame({f"c{i}": ["a", "b"] * (N // 2) for i in range(5)}))
    assert len(deltas) == 5
    assert sum(deltas) <= 1e-7 * (1 + 1e-9)


def test_whole_numbers_count_alike_whether_or_not_a_neighbour_has_a_gap() -> None:
    def texts(series: pd.Series) -> Counter[str]:
        frame = pd.DataFrame({"x": series})
        return tally([frame], subject=None, target=None, max_rows_per_subject=1)["x"].rows

    big = 2**60 + 1
    assert texts(pd.Series([big, 5])) == texts(pd.Series([big, 5, None], dtype=float))
    frame = pd.DataFrame({"who": [big, big + 1, 7, 7], "x": ["a"] * 4})
    assert tally([frame], subject="who", target=None, max_rows_per_subject=1)["x"].rows == {"a": 1}


# --- through the ledger ---


@pytest.fixture
def table(tmp_path: Path) -> Path:
    frame = pd.DataFrame({"age": np.random.default_rng(0).integers(17, 90, N), "town": ["Öland", "Åland"] * (N // 2)})
    frame.to_csv(tmp_path / "t.csv", index=False)
    return tmp_path / "t.csv"


def _propose(workspace: Workspace, file: Path, out: Path, **changes: Any) -> PrivateSchema:
    asked: dict[str, Any] = {"population": "people", "epsilon": 1.0, "delta": 1e-6} | changes
    return propose_schema_privately(workspace, file, out, **asked)


def test_the_charge_is_made_before_a_row_is_read(
    workspace: Workspace, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(workspace.engine)
    ledger.set_budget("people", epsilon=4, delta=1e-5)
    entries_at: list[int] = []
    for name in ("read_chunks", "estimate_rows"):
        real = getattr(propose, name)
        monkeypatch.setattr(
            propose,
            name,
            lambda path, real=real, **how: (entries_at.append(len(ledger.entries("people"))), real(path, **how))[1],
        )
    result = _propose(workspace, table, tmp_path / "s.yaml")
    assert entries_at == [1, 1]
    assert (result.private, result.epsilon, result.population) == (True, 1.0, "people")
    text = (tmp_path / "s.yaml").read_text(encoding="utf-8")
    assert text.startswith("# THIS DRAFT IS DIFFERENTIALLY PRIVATE: epsilon 1, delta 1e-06")
    assert "THIS DRAFT READ THE DATA" not in text
    assert read_schema(tmp_path / "s.yaml").population == "people"


def test_a_refused_charge_reads_nothing(
    workspace: Workspace, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: Any, **__: Any) -> None:
        raise AssertionError("the file was opened")

    monkeypatch.setattr(propose, "read_chunks", opened)
    monkeypatch.setattr(propose, "estimate_rows", opened)
    monkeypatch.setattr(propose, "header_of", opened)
    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(BudgetError, match="no privacy budget") as caught:
        _propose(workspace, table, tmp_path / "s.yaml")
    assert "--population" in caught.value.hint
    Ledger(workspace.engine).set_budget("people", epsilon=0.5, delta=1e-5)
    with pytest.raises(BudgetError, match="would exceed"):
        _propose(workspace, table, tmp_path / "s.yaml")
    assert Ledger(workspace.engine).entries("people") == []
    assert not (tmp_path / "s.yaml").exists()


@pytest.mark.parametrize("epsilon", [0.03, 0.45, 2.0, 10.0])
@pytest.mark.parametrize("delta", [1e-3, 1e-8])
def test_a_search_may_cost_the_whole_budget_and_no_second_one_a_crumb(
    epsilon: float, delta: float, workspace: Workspace
) -> None:
    ledger = Ledger(workspace.engine)
    ledger.set_budget("people", epsilon=epsilon, delta=delta)
    event = SchemaSearch(epsilon=epsilon, delta=delta).event
    assert 0.99 * epsilon < epsilon_of(event, delta) <= epsilon
    ledger.charge("people", event, dataset="", purpose="search")
    with pytest.raises(BudgetError):
        ledger.charge(
            "people", SchemaSearch(epsilon=epsilon / 20, delta=delta / 20).event, dataset="", purpose="search"
        )


def test_a_bad_file_costs_its_charge_and_can_be_mended(workspace: Workspace, table: Path, tmp_path: Path) -> None:
    Ledger(workspace.engine).set_budget("people", epsilon=4, delta=1e-5)
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        _propose(workspace, tmp_path / "empty.csv", tmp_path / "s.yaml")
    assert len(Ledger(workspace.engine).entries("people")) == 1
    _propose(workspace, table, tmp_path / "s.yaml")
    assert len(Ledger(workspace.engine).entries("people")) == 2


BAD_ASKS: dict[str, tuple[dict[str, Any], str]] = {
    "a budget of nothing": ({"epsilon": 0.0}, "epsilon must be positive"),
    "no delta": ({"delta": 0.0}, "delta must lie strictly"),
    "no rows": ({"max_rows_per_subject": 0, "subject": "town"}, "at least one row"),
    "rows without a subject": ({"max_rows_per_subject": 2}, "a person has one row"),
}


@pytest.mark.parametrize("name", BAD_ASKS)
def test_what_makes_no_sense_is_refused_without_a_charge(
    name: str, workspace: Workspace, table: Path, tmp_path: Path
) -> None:
    changes, message = BAD_ASKS[name]
    Ledger(workspace.engine).set_budget("people", epsilon=4, delta=1e-5)
    with pytest.raises(InputError, match=message):
        _propose(workspace, table, tmp_path / "s.yaml", **changes)
    with pytest.raises(InputError, match="no file at"):
        _propose(workspace, tmp_path / "none.csv", tmp_path / "s.yaml")
    assert Ledger(workspace.engine).entries("people") == []


@pytest.mark.parametrize(
    ("out", "changes", "message"),
    [
        ("/proc/x.yaml", {}, "can't be written"),
        (".", {}, "exists already"),
        ("none/s.yaml", {}, "there is no folder"),
        ("s.yaml", {"target": "aeg"}, "target column 'aeg' is not in the table"),
        ("s.yaml", {"subject": "Town"}, "subject column 'Town' is not in the table"),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
def test_a_place_or_a_column_that_is_not_there_costs_nothing(
    workspace: Workspace, tmp_path: Path, ending: str, out: str, changes: dict[str, Any], message: str
) -> None:
    frame, file = pd.DataFrame({"age": [30, 40], "town": ["Öland", "Åland"]}), tmp_path / f"t.{ending}"
    frame.to_parquet(file) if ending == "parquet" else frame.to_csv(file, index=False)
    Ledger(workspace.engine).set_budget("people", epsilon=4, delta=1e-5)
    with pytest.raises(InputError, match=message):
        _propose(workspace, file, tmp_path / out, **changes)
    assert Ledger(workspace.engine).entries("people") == []
    assert {path.name for path in tmp_path.iterdir()} == {file.name, "workspace"}, "and leaves nothing"


def test_the_draft_has_the_mode_that_other_results_have(workspace: Workspace, table: Path, tmp_path: Path) -> None:
    Ledger(workspace.engine).set_budget("people", epsilon=4, delta=1e-5)
    _propose(workspace, table, tmp_path / "s.yaml")
    (tmp_path / "any").write_text("")
    assert (tmp_path / "s.yaml").stat().st_mode == (tmp_path / "any").stat().st_mode
    assert not list((workspace.root / "staging").iterdir())


@pytest.mark.parametrize("slip", ["People", "PEOPLE"])
def test_a_population_in_another_case_gets_no_second_budget(
    workspace: Workspace, table: Path, tmp_path: Path, slip: str
) -> None:
    set_population_budget(workspace, "people", epsilon=4, delta=1e-5)
    with pytest.raises(InputError, match="is in use already, written 'people'") as refused:
        set_population_budget(workspace, slip, epsilon=4, delta=1e-5)
    assert "write people" in refused.value.hint
    with pytest.raises(InputError, match="is in use already, written 'people'"):
        _propose(workspace, table, tmp_path / "s.yaml", population=slip)
    assert Ledger(workspace.engine).budget(slip) is None
    set_population_budget(workspace, "people", epsilon=5, delta=1e-5)


def test_the_command_sets_a_budget_by_population_and_finds_a_schema(
    command: Any, workspace: Workspace, table: Path, tmp_path: Path
) -> None:
    at = ("--workspace", workspace.root)
    price = ("--epsilon", 1, "--delta", "1e-6")
    asked = (*at, "schema", "infer", table, "-o", tmp_path / "s.yaml", "--json")
    assert command(*asked, *price).error["message"].endswith("are for --private")
    assert "--population" in command(*asked, "--private", *price).error["message"]
    assert command(*asked, "--private", "--population", "people", *price).code == 3
    budget = command(*at, "ledger", "budget", "--population", "people", "--epsilon", 4, "--delta", "1e-5", "--json")
    assert (budget.json["population"], budget.json["budget"]) == ("people", {"epsilon": 4.0, "delta": 1e-5})
    found = command(*asked, "--private", "--population", "people", *price)
    assert found.code == 0, found.out
    ledger = command(*at, "ledger", "show", "--population", "people", "--json").json
    assert 0.8 < ledger["spent"]["epsilon"] < 1.0  # at the budget's delta, which is larger
    assert [entry["event"]["kind"] for entry in ledger["entries"]] == ["approximate"]
    for words in (("show",), ("show", "t", "--population", "p"), ("budget", *price)):
        assert command(*at, "ledger", *words, "--json").code == 2
    for name in ("", "a b", "../x", "x" * 65, "x" * 64):
        declared = command(*at, "ledger", "budget", "--population", name, *price, "--json")
        assert declared.code == (0 if len(name) == 64 else 2), "as long as a schema may name it"
