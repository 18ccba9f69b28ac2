"""The page says in plain words what the statement says, escapes what it holds, and is made of verified certificates alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Answer
from hypothesis import given
from hypothesis import strategies as st
from pages import HOSTILE, JSON, Page, loads_nothing, poisoned

from workbench.erasure.certificate import sign
from workbench.reports.certificate_page import certificate_page
from workbench.state.workspace import Workspace

STATEMENT: dict[str, Any] = {
    "subject": [
        {"name": "trees@2", "digest": {"sha256": "ab" * 32}},
        {"name": "journal", "digest": {"sha256": "cd" * 32}},
    ],
    "predicate": {
        "request": "er-1",
        "commitment": {"algorithm": "SHA-256(nonce || identifier)", "value": "ef" * 32},
        "received": "2026-01-01T10:00:00+00:00",
        "completed": "2026-01-02T11:30:00+01:00",
        "datasets": [
            {
                "dataset": "pupils",
                "schema_sha256": "01" * 32,
                "unreviewed_domains": ["hours"],
                "artifacts": [
                    {
                        "artifact": "trees@2",
                        "basis": "exact: bit-identical to training from scratch",
                        "constituents_retrained": 1,
                        "constituents_reused": 3,
                        "constituents_of_person": 1,
                    },
                    {"artifact": "mst-1", "basis": "kept: differentially private", "epsilon": 1.0, "delta": 1e-5},
                    {
                        "artifact": "mst-1-release",
                        "basis": "kept: differentially private",
                        "epsilon": 1.0,
                        "delta": 1e-5,
                    },
                    {"artifact": "mst-2", "basis": "kept: differentially private", "epsilon": 12, "delta": 0},
                    {"artifact": "gan-1", "basis": "retired"},
                ],
                "purged": ["constituent", "ensemble", "evaluation", "evaluation", "plot"],
            }
        ],
        "removed_checkpoints": ["23" * 32],
        "checks": [
            {"name": "rows gone", "ok": True, "detail": "0 of 1"},
            {"name": "byte scan", "ok": True, "detail": "0 hits"},
        ],
        "journal_head": "cd" * 32,
        "environment": {"python": "3.11"},
        "stays": ["a keyed token"],
        "excluded": ["copies outside the workspace"],
        "notify": ["mst-1-release"],
    },
}


def page(statement: Any) -> str:
    return certificate_page(statement, signer="the current key ab", digest="cd" * 32)


def test_it_says_what_was_done_in_plain_words() -> None:
    text = Page(page(STATEMENT)).text
    for words in (
        "The person has been erased.",
        "On 2 January 2026 the person of request er-1 was removed from pupils",
        "Completed 2 January 2026, 10:30 UTC",
        "1 partial model had learnt from the person and was trained again without them; 3 are unchanged",
        "mst-1 and mst-1-release . Made with noise (ε = 1, δ = 1e-05)",
        "by a factor of at most 2.72, except with a probability of at most 1 in 100,000",
        "162,755. This is weak protection.",
        "gan-1 : retired",
        "1 partial model, 1 model version, 2 evaluations and 1 plot",
        "confirmed by nobody, so they may still reflect it: hours",
        "a keyed token",
        "copies outside the workspace",
        "mst-1-release",
        "workbench verify er-1.json --key PUBLIC.pem",
        "ef" * 32,
        "the current key ab",
        "it is not signed",
    ):
        assert words in text, words
    assert text.index("has been erased") < text.index("What was done") < text.index("Technical annex")


OTHERS = "trained again for requests that were carried out with this one; 4 are unchanged."


@pytest.mark.parametrize(
    ("mine", "together", "said"),
    [
        (
            1,
            12,
            f"1 partial model had learnt from the person and was trained again without them; 15 others were {OTHERS}",
        ),
        (0, 12, f"No part of it had learnt from the person; 16 were {OTHERS}"),
        (
            None,
            None,
            "16 partial models had learnt from the person, or from people whose requests were carried out with",
        ),
    ],
)
def test_the_page_of_one_person_in_a_batch_speaks_of_that_person(
    mine: int | None, together: int | None, said: str
) -> None:
    statement = copy.deepcopy(STATEMENT)
    model = statement["predicate"]["datasets"][0]["artifacts"][0]
    model |= {"constituents_retrained": 16, "constituents_reused": 4}
    del model["constituents_of_person"]
    if mine is not None:  # certificates of earlier releases do not say it
        model["constituents_of_person"] = mine
        statement["predicate"]["requests_together"] = together
    text = Page(page(statement)).text
    assert said in text
    assert ("all 12 requests that were carried out together" in text) == (together == 12)
    assert ("of any that was carried out with it" in text) == (together is None)


def test_a_check_that_failed_or_is_missing_changes_the_verdict() -> None:
    for checks in ([{"name": "rows gone", "ok": False, "detail": "1 of 1"}], [], [{"name": "x", "ok": "yes"}]):
        statement = copy.deepcopy(STATEMENT)
        statement["predicate"]["checks"] = checks
        text = Page(page(statement)).text
        assert "needs a closer look" in text
        assert "has been erased" not in text


def test_it_loads_nothing_and_runs_nothing() -> None:
    text = page(STATEMENT)
    assert loads_nothing(text)
    assert len(text) < 30_000


def test_whatever_the_statement_holds_is_text() -> None:
    statement = poisoned(STATEMENT)
    statement["predicate"]["environment"] = {HOSTILE: HOSTILE}
    parsed = Page(page(statement))
    assert set(parsed.tags) <= set(Page(page(STATEMENT)).tags)
    assert not [name for name, _ in parsed.attributes if name.startswith("on") or name == "src"]
    assert "<script" not in page(statement)


FIELDS = st.sampled_from([*STATEMENT["predicate"], "epsilon", "delta", "artifacts", "purged", "basis", "artifact"])


@given(changes=st.dictionaries(FIELDS, JSON, max_size=4), whole=JSON)
def test_a_statement_of_any_shape_makes_a_page(changes: dict[str, Any], whole: Any) -> None:
    predicate = STATEMENT["predicate"] | changes
    artifact = {"artifact": "x", "basis": "kept", "epsilon": 1, "delta": 0} | changes
    dataset = STATEMENT["predicate"]["datasets"][0] | changes | {"artifacts": [artifact]}
    for statement in (
        {"subject": whole, "predicate": predicate},
        {"subject": [whole], "predicate": {**predicate, "datasets": [dataset, whole]}},
        {"predicate": whole},
    ):
        Page(page(statement))


@pytest.fixture
def certificate(workspace: Workspace, tmp_path: Path) -> Path:
    path = tmp_path / "er-1.json"
    path.write_bytes(sign(workspace.root / "keys", {"trees@2": "ab" * 32}, STATEMENT["predicate"]))
    return path


def test_the_command_writes_a_page_of_a_verified_certificate_only(
    command: Callable[..., Answer], workspace: Workspace, certificate: Path, tmp_path: Path
) -> None:
    home, out = ("--workspace", workspace.root), tmp_path / "out.html"
    answer = command(*home, "certificate", certificate, "--html", out, "--json")
    assert answer.code == 0
    assert "has been erased" in Page(out.read_text()).text
    assert answer.json["signed_by"].startswith("the current key ")
    assert answer.json["sha256"] in out.read_text()
    out.unlink()

    key = workspace.root / "keys" / "signing.pub.pem"
    alone = command("--workspace", tmp_path / "none", "certificate", certificate, "--html", out, "--key", key, "--json")
    assert (alone.code, out.is_file()) == (0, True)
    out.unlink()

    envelope = json.loads(certificate.read_text())
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(envelope | {"payload": envelope["payload"][::-1]}, indent=1))
    answer = command(*home, "certificate", forged, "--html", out, "--json")
    assert (answer.code, answer.error["code"], out.exists()) == (1, "check_failed", False)
    assert command(*home, "certificate", certificate, "--html", tmp_path / "out.txt", "--json").code == 2
    assert command(*home, "certificate", tmp_path / "no.json", "--html", out, "--json").code == 4


def test_the_page_says_what_the_search_left_and_what_was_not_searched() -> None:
    scan = {
        "chance": [{"file": "objects/p/ab", "offset": 7}],
        "accepted": [{"file": "logs/<a>", "offset": 9, "reason": "a street & no person"}],
        "not_searched": ["numbers in private results"],
    }
    statement = copy.deepcopy(STATEMENT)
    statement["predicate"]["scan"] = scan
    shown = page(statement)
    for text in (
        "objects/p/ab</code> at byte 7",
        "by chance",
        "logs/&lt;a&gt;",
        "a street &amp; no person",
        "Not searched",
    ):
        assert text in shown
    for nothing in ({}, None, "x", {"chance": "x", "not_searched": 3}):
        statement["predicate"]["scan"] = nothing
        assert "What the search for the identifier left" not in page(statement)
    assert "What the search for the identifier left" not in page(STATEMENT)
