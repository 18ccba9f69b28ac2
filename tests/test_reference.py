"""The reference is what the code says, all of it has a meaning, and no page of the documentation leads nowhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

CLONE = Path(__file__).parents[1]
PAGES = [CLONE / "README.md", *sorted((CLONE / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", CLONE / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["cli.md", "config.md", "metrics.md"])
def test_the_reference_is_up_to_date(generate: ModuleType, page: str) -> None:
    kept = (CLONE / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert kept == generate.pages()[page], "make reference"


def test_every_field_and_every_option_has_a_meaning(generate: ModuleType) -> None:
    rows = [
        line.split(" | ") for page in generate.pages().values() for line in page.splitlines() if line.startswith("| `")
    ]
    assert len(rows) > 150
    fields = [row for row in rows if len(row) in (2, 4)]
    assert [row for row in fields if not row[-1].removesuffix("|").strip()] == []


def test_a_field_that_is_added_is_in_the_reference(generate: ModuleType) -> None:
    class Config(BaseModel, use_attribute_docstrings=True):
        """A config."""

        colour: str = "red"
        """What it is painted in."""

    assert '| `colour` | text | `"red"` | What it is painted in. |' in list(generate._section("Config", Config))


def test_every_command_is_in_the_reference(generate: ModuleType) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from workbench.cli import main; main()", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    named = re.findall(r"^  ([a-z]+) ", done.stdout.partition("Commands:")[2], re.M)
    assert len(named) > 20
    text = generate.pages()["cli.md"]
    assert [name for name in named if f"## workbench {name}\n" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_leads_nowhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    gone = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert gone == []
