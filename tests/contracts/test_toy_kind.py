"""One class is all it takes: a kind that is made here is declared, guessed, stored, fitted, drawn and shown.

It is what a file of `workbench/schema/kinds/` would hold; `register` alone makes it known.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import test_kind_contract as contract
from pydantic import Field, TypeAdapter

from workbench.config import SynthesizeConfig
from workbench.errors import InputError
from workbench.privacy.ledger import Ledger
from workbench.privacy.schema_search import SchemaSearch
from workbench.schema import Codec, Column, Schema
from workbench.schema.draft import rows_of, with_rows
from workbench.schema.infer import infer_schema
from workbench.schema.kinds.kind import Axis, Evidence, Fields, KindSettings, Level, NoisyEvidence, Values, parse_number
from workbench.schema.kinds.numeric import NumericKind, round_outward
from workbench.schema.kinds.registry import KINDS
from workbench.schema.schema import parse_schema
from workbench.state.workspace import Workspace
from workbench.workflows.datasets.ingest import ingest
from workbench.workflows.datasets.profile import profile
from workbench.workflows.synthesis.sample import sample
from workbench.workflows.synthesis.synthesize import synthesize

if TYPE_CHECKING:
    import datetime as dt

CLONE = Path(__file__).parents[2]


class PercentSettings(KindSettings):
    """How percentages are written."""

    places: int = Field(ge=0, le=6, description="How many decimal places a percentage has.")
    zero: str = Field(default="0", description="How nothing is written.")


def spelt(text: str) -> float:
    return parse_number(text.removesuffix("%").strip()) if text.endswith("%") else math.nan


PERCENTAGES = Axis(spelt)


class Percent(NumericKind):
    """Percentages with a fixed number of places: an encoded one counts the smallest step."""

    name: ClassVar[str] = "percent"
    rank: ClassVar[int] = 45
    level: ClassVar[Level | None] = "ratio"
    settings: ClassVar[type[KindSettings]] = PercentSettings
    example: ClassVar[Fields] = {"bounds": (0.0, 100.0), "places": 1}
    unreadable: ClassVar[str] = "value is not a percentage"
    precedence: ClassVar[int | None] = 25
    axis: ClassVar[Axis | None] = PERCENTAGES

    def _steps(self, column: Column) -> int:
        return 10 ** PercentSettings.of(column).places

    def number(self, bound: float | dt.datetime, column: Column) -> float:
        return float(np.rint(float(bound) * self._steps(column)))  # type: ignore[arg-type]

    def parse(self, texts: Sequence[str | None], column: Column) -> Values:
        return np.rint(np.array([spelt(text or "") for text in texts], dtype=float) * self._steps(column))

    def native(self, series: pd.Series, column: Column) -> Values | None:  # noqa: ARG002 - numbers are no percentages
        return None

    def decode(self, encoded: Values, column: Column) -> pd.Series:
        places = PercentSettings.of(column).places
        texts = [None if np.isnan(v) else f"{v / self._steps(column):.{places}f} %" for v in encoded]
        return pd.Series(texts, dtype=object)

    def is_of(self, text: str) -> bool:
        return not math.isnan(spelt(text))

    def guess(self, seen: Evidence, *, missing: bool) -> Fields | None:
        ends = seen.ends(PERCENTAGES) if self.name in seen.forms else None
        if ends is None:
            return None
        return {"kind": self.name, "places": 1, "bounds": round_outward(*ends, smallest=0.1), "missing": missing}

    def find(self, look: NoisyEvidence, rho: float, *, missing: bool) -> Fields | None:
        bounds = look.filled(PERCENTAGES, (self.name,), np.linspace(0.0, 100.0, 11), rho)
        return bounds and {"kind": self.name, "places": 1, "bounds": bounds, "missing": missing}


@pytest.fixture
def percent() -> Iterator[Percent]:
    kind = Percent()
    KINDS.register(kind)
    yield kind
    KINDS.withdraw("percent")


def table(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    share = [f"{value / 10:.1f} %" for value in rng.integers(0, 400, n)]
    return pd.DataFrame({"share": share, "side": rng.choice(["heads", "tails"], n)})


DECLARED = {
    "subject": "row",
    "columns": {
        "share": {"kind": "percent", "places": 1, "bounds": [0, 40], "bins": 4},
        "side": {"kind": "categorical", "categories": ["heads", "tails"]},
    },
}


def test_a_kind_is_in_the_models_and_on_the_reference_page(percent: Percent) -> None:
    document = TypeAdapter(Schema).json_schema()["$defs"]["Column"]["properties"]
    assert percent.name in document["kind"]["enum"]
    assert document["places"]["description"] == "How many decimal places a percentage has."
    spec = importlib.util.spec_from_file_location("generate", CLONE / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    page = generate._config()
    assert "`continuous`, `percent`, `boolean`" in page
    assert "| `places` |" in page


@pytest.mark.usefixtures("percent")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"places": None}, r"columns\.share: a percent column needs places"),
        ({"places": 7}, r"columns\.share\.places: Input should be less than or equal to 6"),
        ({"bounds": [40, 0]}, r"columns\.share: bounds are inverted"),
        ({"kind": "integer"}, r"columns\.share: places is for percent columns, found kind integer"),
        ({"place": 1}, r"columns\.share\.place: Extra inputs"),
    ],
)
def test_a_field_of_one_kind_is_checked_by_name(changes: dict[str, Any], message: str) -> None:
    columns = {**DECLARED["columns"], "share": {**DECLARED["columns"]["share"], **changes}}  # type: ignore[dict-item, index]
    with pytest.raises(InputError, match=message):
        parse_schema({**DECLARED, "columns": columns}, source="s")


def test_a_kind_that_is_withdrawn_leaves_nothing_behind() -> None:
    before = Schema.model_json_schema()
    digest = parse_schema({"subject": "row", "columns": {"x": {"kind": "boolean"}}}, source="s").digest()
    KINDS.register(Percent())
    assert parse_schema({"subject": "row", "columns": {"x": {"kind": "boolean"}}}, source="s").digest() == digest
    with pytest.raises(InputError, match="'percent' exists already"):
        KINDS.register(Percent())
    KINDS.withdraw("percent")
    assert Schema.model_json_schema() == before
    with pytest.raises(InputError, match=r"columns\.share\.kind: Input should be 'categorical', 'ordinal'"):
        parse_schema(DECLARED, source="s")


def test_a_kind_whose_field_is_declared_already_is_refused_and_not_known_afterwards() -> None:
    class Clash(KindSettings):
        bins: int = 3

    class Other(Percent):
        name: ClassVar[str] = "other"
        settings: ClassVar[type[KindSettings]] = Clash

    with pytest.raises(InputError, match="other declares the field 'bins'"):
        KINDS.register(Other())
    assert KINDS.get("other") is None
    assert Column(kind="integer", bounds=(0, 9)).bins == 32


@pytest.mark.usefixtures("percent")
def test_a_kind_is_guessed_with_and_without_privacy() -> None:
    guess = infer_schema([table()], target=None, subject=None).columns["share"]
    assert (guess.kind, guess.bounds) == ("percent", (0.0, 40.0))
    found = SchemaSearch(epsilon=50.0, delta=1e-6).find([table(3000)], population="p").columns["share"]
    assert (found.kind, found.bounds) == ("percent", (0.0, 40.0))


def test_a_kind_keeps_the_contract_of_all_kinds(percent: Percent) -> None:
    contract.test_a_kind_keeps_its_contract(percent)
    contract.test_bad_input_is_refused_by_the_name_of_the_column_and_never_shown(percent)


@pytest.mark.usefixtures("percent")
def test_a_kind_gives_back_what_it_was_given() -> None:
    column = Column.model_validate(DECLARED["columns"]["share"])  # type: ignore[index]
    codec = Codec(parse_schema(DECLARED, source="s"))
    assert (column.low, column.high, column.cells) == (0, 400, 4)
    values = codec.encode(table()).values
    pd.testing.assert_frame_equal(codec.decode(values), table())
    assert codec.bin(values)[:, 0].tolist() == [min(3, int(v // 100.25)) for v in values[:, 0]]
    assert rows_of(codec.schema)[0]["domain"] == "0 .. 40"
    assert with_rows(codec.schema, rows_of(codec.schema)) == codec.schema
    (broken,) = codec.encode(pd.DataFrame({"share": ["12"], "side": ["heads"]})).violations
    assert (broken.column, broken.rule) == ("share", "value is not a percentage")


@pytest.mark.usefixtures("percent")
def test_a_kind_is_among_those_that_the_app_offers(browse: Callable[..., Any], workspace: Workspace) -> None:
    app = browse(workspace, "data")
    app.file_uploader[0].set_value(("t.csv", table(60).to_csv(index=False).encode(), "text/csv")).run()
    next(box for box in app.selectbox if "Which" in box.label).select_index(0)
    next(button for button in app.button if button.label == "Propose a schema").click().run()
    assert not app.exception
    (editor,) = app.dataframe
    offered = json.loads(editor.proto.columns)["kind"]["type_config"]["options"]
    assert [option if isinstance(option, str) else option["value"] for option in offered] == list(KINDS.names())
    assert "percent" in KINDS.names()


@pytest.mark.usefixtures("percent")
def test_a_kind_is_taken_in_profiled_fitted_and_drawn(workspace: Workspace, tmp_path: Path) -> None:
    table().to_csv(tmp_path / "table.csv", index=False)
    schema = tmp_path / "schema.yaml"
    schema.write_text(json.dumps(DECLARED))
    ingest(workspace, "shares", schema=schema, data=tmp_path / "table.csv")
    cells = dict(profile(workspace, "shares").columns[0].cells)
    assert list(cells) == ["0 to 100", "101 to 200", "201 to 300", "301 to 400"]
    Ledger(workspace.engine).set_budget("shares", epsilon=10, delta=1e-5)
    made = synthesize(
        workspace, SynthesizeConfig(generator="independent", dataset="shares", epsilon=8, delta=1e-5, rows=200)
    )
    sample(workspace, made.generator, 50, tmp_path / "out.csv", where=["share=10 %..20 %"])
    drawn = pd.read_csv(tmp_path / "out.csv")["share"]
    assert len(drawn) == 50
    assert drawn.str.fullmatch(r"\d+\.\d %").all()
    assert drawn.map(spelt).between(10, 20).all()
