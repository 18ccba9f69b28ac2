"""What `make install` passes on to uv, which reads none of pip's settings."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def install() -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", Path(__file__).parents[1] / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LISTING = """
:env:.find-links='/mine'
global.cert='/etc/certificates.pem'
global.constraint='/etc/caps.txt /etc/more.txt'
global.extra-index-url='\\nfile:///one\\nfile:///two'
global.find-links='/site'
global.index-url='https://user:word@example.org/simple'
global.trusted-host='example.org'
install.cert='/home/certificates.pem'
install.proxy='http://proxy:3128'
""".strip().splitlines()


def test_uv_gets_what_pip_was_set_up_with(install: ModuleType) -> None:
    found = install.settings(LISTING)
    constraints = ["--constraint", "/etc/caps.txt", "--constraint", "/etc/more.txt"]
    assert install.options(found) == ["--find-links", "/mine", *constraints, "--allow-insecure-host", "example.org"]
    assert install.environment(found) == {
        "UV_DEFAULT_INDEX": "https://user:word@example.org/simple",
        "UV_EXTRA_INDEX_URL": "file:///one file:///two",
        "SSL_CERT_FILE": "/home/certificates.pem",
        "HTTP_PROXY": "http://proxy:3128",
        "HTTPS_PROXY": "http://proxy:3128",
    }


def test_without_settings_nothing_is_passed_on(install: ModuleType) -> None:
    assert (install.options({}), install.environment({})) == ([], {})
    assert install.options(install.settings(["global.no-index='true'"])) == ["--no-index"]


def test_an_environment_that_is_there_is_kept_and_pip_steps_in_where_uv_fails(
    install: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program in Python's place that fails for uv alone, and notes how it was called."""
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n[ "$2" != uv ]\n')
    python.chmod(0o755)
    install.main(str(tmp_path / "env"), "dev", "oracle")
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    assert [call[:3] for call in calls] == [
        ["-m", "pip", "install"],
        ["-m", "pip", "config"],
        ["-m", "uv", "pip"],
        ["-m", "pip", "install"],
    ]
    wanted = ["--constraint", "constraints.txt", "--editable", ".[dev,oracle]"]
    assert calls[2][-4:] == calls[3][-4:] == wanted
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("Installing into "), "before anything else"
    assert said[1].startswith("uv could not install here")
