"""Pages are templates that escape: a text is never read as a template, and a name that a template lacks is a fault."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError
from pages import Page

import workbench.reports.page as pages
from workbench.reports.certificate_page import certificate_page
from workbench.reports.evaluation_page import evaluation_page

TEMPLATES = Path(pages.__file__).parent / "templates"


@pytest.mark.parametrize(
    "text", ["{{ 6 * 7 }}", "{% include 'page.css' %}", "{# gone #}", "=1+1", "'\"<b>&amp;", "\ud800"]
)
def test_a_text_stays_as_it_is(text: str) -> None:
    kept = text.encode("utf-8", "replace").decode()
    for page in (
        evaluation_page({"of": text, "limits": [text], "facts": {"x": text}, "verdicts": [{"use": f"x{text}"}]}),
        certificate_page({"predicate": {"request": text, "stays": [text]}}, signer=text, digest=text),
    ):
        read = Page(page)
        assert read.words.count(kept) >= 2, read.words
        assert "b" not in read.tags


def test_no_template_turns_escaping_off() -> None:
    sources = {path.name: path.read_text() for path in TEMPLATES.iterdir()}
    assert {"page.html", "evaluation.html", "comparison.html", "certificate.html"} <= set(sources)
    for name, source in sources.items():
        assert not re.search(r"autoescape|\|\s*safe\b|Markup|<script", source), name


def test_a_name_that_is_not_given_is_a_fault() -> None:
    with pytest.raises(UndefinedError):
        pages.page("certificate.html", title="x", footer="y")
