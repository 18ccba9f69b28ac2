"""A certificate of any release verifies for ever, by its public key alone. The files are never written again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from workbench.erasure.certificate import PREDICATE_TYPE, open_signed
from workbench.erasure.keys import read_public_key
from workbench.workflows.erasure.verify import verify
from workbench.workflows.evaluation.report import certificate_html

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "certificates").glob("*.json"))
# By the commit that wrote them: the saga, keys that can be rotated, generators fitted again, limits and exports, the first
NAMES = ["352f3a4", "381ff6f", "4110507", "785b2a7", "f7447e9"]
# What every certificate has said since the first; later releases add fields
FIRST = {
    *("request", "commitment", "received", "completed", "datasets", "removed_checkpoints", "checks"),
    *("journal_head", "environment", "excluded", "notify"),
}


def test_there_is_one_of_each_release_that_wrote_them_otherwise() -> None:
    assert [path.stem for path in GOLDEN] == NAMES


@pytest.mark.parametrize("certificate", GOLDEN, ids=lambda path: path.stem)
def test_a_certificate_of_an_earlier_release_verifies(certificate: Path) -> None:
    key = certificate.with_suffix(".pem")
    assert verify(None, certificate, key=key).valid
    statement = open_signed(certificate.read_bytes(), [read_public_key(key)])[0]
    assert statement["predicateType"] == PREDICATE_TYPE == "https://erasure-workbench.dev/erasure/v1"
    assert statement["predicate"].keys() >= FIRST
    page, _, _ = certificate_html(None, certificate, key=key)
    assert statement["predicate"]["request"] in page


@pytest.mark.parametrize("certificate", GOLDEN, ids=lambda path: path.stem)
def test_it_fails_under_another_key_and_with_a_field_more(certificate: Path, tmp_path: Path) -> None:
    key = certificate.with_suffix(".pem")
    for other in GOLDEN:
        if other != certificate:
            assert not verify(None, certificate, key=other.with_suffix(".pem")).valid
    document = json.loads(certificate.read_bytes())
    document["signatures"][0]["note"] = "x"
    (tmp_path / "more.json").write_text(json.dumps(document, indent=1))
    assert not verify(None, tmp_path / "more.json", key=key).valid
