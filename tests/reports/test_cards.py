"""Cards: front matter that a hub reads, sections that people read, and nothing that was computed from personal rows."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from conftest import PUPILS_SCHEMA
from evaluations import RELEASE, measure
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pages import HOSTILE, JSON, Page

from workbench.reports.cards import data_card, model_card
from workbench.schema.schema import Schema, parse_schema

SCHEMA = parse_schema(yaml.safe_load(PUPILS_SCHEMA), source="test")
ENSEMBLE: dict[str, Any] = RELEASE | {
    "of": "pupils-trees@2",
    "kind": "ensemble",
    "dataset": "pupils",
    "facts": {"learner": "gradient_boosting", "private": False, "shards": 4, "rows": 777, "requests": 5},
    "measures": [measure("utility/auc", 0.91, 0.9, 0.92, better="higher", baseline=0.5, ceiling=0.93)],
}
SECTIONS = ["Intended uses", "Training data", "Figures", "Privacy", "Limits"]


def front_matter(card: str) -> dict[str, Any]:
    begin, front, _ = re.split(r"^---\n", card, maxsplit=2, flags=re.MULTILINE)
    assert begin == ""
    document = yaml.safe_load(front)
    assert isinstance(document, dict)
    return document


def test_what_was_stated_about_the_budget_is_on_the_card_and_cannot_be_markup() -> None:
    card = data_card(RELEASE, SCHEMA, remarks=["nothing was charged after entry 7: [said](x) so"])
    assert "- nothing was charged after entry 7\\: \\[said\\]\\(x\\) so" in card
    assert "about the budget of these people" not in data_card(RELEASE, SCHEMA)


def headings(card: str) -> list[str]:
    return re.findall(r"^## (.*)$", card, flags=re.MULTILINE)


def test_the_card_of_a_release_says_what_it_is_and_what_epsilon_means() -> None:
    card = data_card(RELEASE, SCHEMA)
    assert front_matter(card) == {
        "pretty_name": "Synthetic adult",
        "license": "unknown",
        "tags": ["tabular", "synthetic", "differential-privacy"],
        "task_categories": ["tabular-classification"],
        "size_categories": ["10K<n<100K"],
    }
    assert headings(card) == SECTIONS
    for words in (
        "# adult-aim-1a2b3c-release",
        "- software testing\n- model development\n- publication\n",
        "| town | categorical | quasi identifier | yes |",
        "ε = 1, δ = 1e-06",
        "by a factor of at most 2.72",
        "What this does not promise",
    ):
        assert words in card


def test_the_card_of_an_ensemble_says_how_a_person_is_removed() -> None:
    card = model_card(ENSEMBLE, SCHEMA)
    assert front_matter(card)["pipeline_tag"] == "tabular-classification"
    assert "differential-privacy" not in front_matter(card)["tags"]
    assert headings(card) == SECTIONS
    assert "training again the one part" in card
    assert "without differential privacy" in card
    assert "ε" not in card


@pytest.mark.parametrize("card", [data_card, model_card])
def test_a_card_that_leaves_holds_nothing_computed_from_personal_rows(card: Any) -> None:
    secret = {"secret": "fact-4711", "requests": 4712, "seconds": 4713.5}
    document = RELEASE | {"facts": RELEASE["facts"] | secret, "limits": ["limit-4714"], "method": ["method-4715"]}
    leaves, stays = card(document, SCHEMA), card(document, SCHEMA, internal=True)
    internal = [
        "fact-4711",
        "4,712",
        "4713.5",
        "limit-4714",
        "private: no; yes asked",
        "0.971 to 0.983",
        "0.507",
        "AUC failed",
    ]
    for words in internal:
        assert words not in leaves.replace("\\", ""), words
        assert words in stays.replace("\\", ""), words
    numbers = {str(m["estimate"][end]) for m in RELEASE["measures"] for end in ("value", "low", "high")} - {"None"}
    assert not [number for number in numbers if number in leaves]
    assert ("**Internal: computed from personal records." in stays, "Internal" in leaves) == (True, False)


@pytest.mark.parametrize("card", [data_card, model_card])
def test_a_card_that_leaves_is_the_same_whatever_was_found(card: Any) -> None:
    """Verdicts are functions of figures without noise: which way they fell tells of the rows."""

    def with_verdicts(holds: bool | None) -> dict[str, Any]:
        return RELEASE | {"verdicts": [verdict | {"holds": holds} for verdict in RELEASE["verdicts"]]}

    leaving = {card(with_verdicts(holds), SCHEMA) for holds in (True, False, None)} | {card(RELEASE, SCHEMA)}
    assert len(leaving) == 1
    (card_text,) = leaving
    assert not {"✓", "✗"} & set(card_text)
    staying = card(RELEASE, SCHEMA, internal=True)
    for words in ("- ✓ **software testing**: conditions met", "- ✗ **publication**: conditions not met"):
        assert words in staying


def test_how_many_people_an_ensemble_learnt_from_does_not_leave() -> None:
    assert "777" not in model_card(ENSEMBLE, SCHEMA)
    assert "| rows | 777 |" in model_card(ENSEMBLE, SCHEMA, internal=True)
    assert "| rows | 39,074 |" in data_card(RELEASE, SCHEMA)


def test_no_value_of_the_schema_is_in_a_card() -> None:
    for card in (data_card(RELEASE, SCHEMA), model_card(ENSEMBLE, SCHEMA, internal=True)):
        for value in ("Öland", "Åland", "東京", "pupil-number"):
            assert value not in card


def test_an_internal_model_card_has_figures_for_the_hub() -> None:
    (entry,) = front_matter(model_card(ENSEMBLE, SCHEMA, internal=True))["model-index"]
    assert entry["results"][0]["metrics"] == [{"type": "utility/auc", "name": "Title of utility/auc", "value": 0.91}]
    assert "| Title of utility/auc | 0.910 (0.900 to 0.920) | 0.500 | 0.930 | higher |" in model_card(
        ENSEMBLE, SCHEMA, internal=True
    )
    assert "model-index" not in model_card(ENSEMBLE, SCHEMA)


def test_a_figure_that_failed_is_said_to_have_failed() -> None:
    failed = measure("utility/auc", 0.0, 0.0, 0.0, failed=True, reason="failed: ValueError")
    card = model_card(ENSEMBLE | {"measures": [failed]}, SCHEMA, internal=True)
    assert "| Title of utility/auc | failed\\: ValueError | – | – | lower |" in card
    assert front_matter(card)["model-index"][0]["results"][0]["metrics"] == []


def test_columns_that_nobody_reviewed_are_named() -> None:
    document = yaml.safe_load(PUPILS_SCHEMA)
    document["columns"]["hours"]["reviewed"] = False
    assert "confirmed by nobody: hours." in data_card(RELEASE, parse_schema(document, source="test"))


def test_the_task_follows_from_the_target() -> None:
    document = yaml.safe_load(PUPILS_SCHEMA)
    document["columns"]["passed"]["role"], document["columns"]["hours"]["role"] = "feature", "target"
    regression = parse_schema(document, source="test")
    assert front_matter(data_card(RELEASE, regression))["task_categories"] == ["tabular-regression"]
    del document["columns"]["hours"]["role"]
    assert "task_categories" not in front_matter(data_card(RELEASE, parse_schema(document, source="test")))


MARKUP = HOSTILE + "\n---\n# heading\n| cell | [link](http://a.b) ![i](http://a.b) `code` **bold** www.a.b a@b.c $x$"


def hostile_schema() -> Schema:
    document = yaml.safe_load(PUPILS_SCHEMA)
    document["columns"][MARKUP] = document["columns"].pop("town")
    return parse_schema(document, source="test")


def poisoned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: poisoned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    return value + MARKUP if isinstance(value, str) else value


def test_whatever_a_card_is_given_is_text() -> None:
    document = poisoned(RELEASE) | {"kind": "release"}
    for card in (
        data_card(document, hostile_schema(), internal=True),
        model_card(document, hostile_schema(), internal=True),
    ):
        assert isinstance(front_matter(card), dict)
        body = re.split(r"^---\n", card, maxsplit=2, flags=re.MULTILINE)[2]
        assert headings(body) == SECTIONS
        assert not re.search(r"(?<!\\)://|www\.", body)
        drawn = Page(MarkdownIt("commonmark").enable("table").render(body))
        assert set(drawn.tags) == {
            "h1",
            "h2",
            "p",
            "blockquote",
            "strong",
            "ul",
            "li",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
        }
        assert (
            drawn.text.count("# heading | cell | [link](http://a.b) ![i](http://a.b) `code` **bold** www.a.b a@b.c $x$")
            > 20
        )


@given(changes=st.dictionaries(st.sampled_from([*RELEASE]), JSON, max_size=4), internal=st.booleans())
def test_a_document_of_any_shape_makes_a_card(changes: dict[str, Any], internal: bool) -> None:
    for card in (data_card, model_card):
        for document in (RELEASE | changes, changes):
            assert headings(card(document, SCHEMA, internal=internal)) == SECTIONS
            front_matter(card(document, SCHEMA, internal=internal))
