"""What is declared is used, by the part that declares it; a command whose libraries are missing says what installs them."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Answer

import workbench
from workbench.extras import EXTRAS

ROOT = Path(__file__).parents[1]
PACKAGE = Path(workbench.__file__).parent
MODULES = {"pyyaml": "yaml", "scikit-learn": "sklearn"}  # where it is not the name of the distribution
UNUSED = {"sdv"}  # asked for by the project; nothing imports it yet
COME_ALONG = {"pydantic_core"}  # pydantic says which version it needs, and its manual imports it by this name
OF_SIGNING_IN = {"authlib", "httpx"}  # Streamlit imports them
FIXED = {"sdv", "ctgan", "scikit-learn", "torch", "opacus", "mlflow", "streamlit", "pytest"}
IMPORT = re.compile(r"^\s*(?:from (\w+)[\w.]* import |import (\w+))", re.MULTILINE)


def project() -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return content


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[ ]", each)[0] for each in requirements}


def modules(requirements: list[str]) -> set[str]:
    return {MODULES.get(name, name.replace("-", "_")) for name in names(requirements)}


def imported(*rooms: str) -> set[str]:
    """Return the libraries that the files of some rooms import, or, without rooms, those of all others."""
    found: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0]
        if room in rooms or (not rooms and room not in ("api", "ui")):
            found |= {a or b for a, b in IMPORT.findall(path.read_text())}
    return found - sys.stdlib_module_names - {"workbench"} - COME_ALONG


def test_each_part_imports_what_it_declares_and_nothing_else() -> None:
    declared = project()
    core, extras = modules(declared["dependencies"]), declared["optional-dependencies"]
    assert modules(extras["api"]) == set(EXTRAS["api"])
    assert modules(extras["app"]) == set(EXTRAS["app"])
    assert imported() == core - UNUSED
    assert imported("api") - core == set(EXTRAS["api"])
    assert imported("ui") - core == set(EXTRAS["app"]) - OF_SIGNING_IN


def test_the_commands_of_the_readme_install_all_that_tests_and_users_count_on() -> None:
    extras = project()["optional-dependencies"]
    assert "erasure-workbench[api,app]" in extras["dev"]
    everything = names([*project()["dependencies"], *extras["dev"], *extras["api"], *extras["app"]])
    assert everything >= FIXED
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in constraints()}
    assert {name.lower() for name in everything} - {"erasure-workbench"} <= pinned


def constraints() -> list[str]:
    return (ROOT / "constraints.txt").read_text().splitlines()


def test_no_library_of_a_graphics_card_is_installed() -> None:
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in constraints())
    assert not [line for line in constraints() if re.match(r"nvidia|triton|cuda", line, re.IGNORECASE)]


@pytest.mark.parametrize(("words", "extra"), [(("ui", "--no-browser"), "app"), (("api",), "api")])
def test_a_command_without_its_extra_says_what_installs_it(
    words: tuple[str, ...], extra: str, command: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in EXTRAS[extra]:
        with monkeypatch.context() as lacking:
            lacking.setitem(sys.modules, module, None)  # as if it were not installed
            answer = command("--workspace", tmp_path / "new", *words)
        assert answer.code == 2
        assert f"[{extra}]" in answer.err
        assert module in answer.err
        assert f'pip install "erasure-workbench[{extra}]"' in answer.err
        assert not (tmp_path / "new").exists()
