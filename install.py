"""Install this clone into a virtual environment: `python3.11 install.py .venv dev` for what the tests need.

uv does it in a fraction of pip's time, in the versions of constraints.txt. It reads none of pip's settings, so that indexes,
folders of wheels, certificates, proxy and constraints are passed on from `pip config list`. Where uv fails, pip does the work.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import venv
from collections.abc import Iterable, Mapping
from pathlib import Path

CONSTRAINTS = "constraints.txt"
SECTIONS = ("global", "install", ":env:")  # of pip's settings: the later overrules the earlier


def main(folder: str, *extras: str) -> None:
    """Make the environment where there is none, and install the clone with its extras."""
    say(f"Installing into {folder}: about 200 libraries and 2 GB. The first time this takes minutes.")
    python = str(Path(folder) / "bin" / "python")
    if not Path(python).exists():
        venv.create(folder, with_pip=True, symlinks=True)
    wanted = ["--constraint", CONSTRAINTS, "--editable", f".[{','.join(extras)}]"]
    try:
        by_uv(python, wanted)
    except subprocess.CalledProcessError:
        say("uv could not install here; pip does it, which takes some minutes more.")
        run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted])


def by_uv(python: str, wanted: list[str]) -> None:
    """Install uv, which is a wheel like others, and with it what is wanted."""
    run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", CONSTRAINTS, "uv"])
    asked = [python, "-m", "pip", "config", "list"]
    listing = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    found = settings(listing.splitlines())
    # pip takes the best version of all indexes and folders, and compiles what it installs
    alike = ["--index-strategy", "unsafe-best-match", "--compile-bytecode", *options(found)]
    run([python, "-m", "uv", "pip", "install", "--python", python, *alike, *wanted], environment(found))


def settings(lines: Iterable[str]) -> dict[str, str]:
    """Return pip's settings by name from the lines of `pip config list`, as `global.cert='/etc/…'`."""
    found: dict[tuple[str, str], str] = {}
    for line in lines:
        name, _, value = line.partition("=")
        section, _, name = name.rpartition(".")
        found[section, name] = str(ast.literal_eval(value))
    return {name: value for each in SECTIONS for (section, name), value in found.items() if section == each}


def options(found: Mapping[str, str]) -> list[str]:
    """Return uv's options for pip's settings."""
    names = {"find-links": "--find-links", "constraint": "--constraint", "trusted-host": "--allow-insecure-host"}
    several = [
        part for name, option in names.items() for value in found.get(name, "").split() for part in (option, value)
    ]
    return several + (["--no-index"] if found.get("no-index", "").lower() in ("1", "true", "yes", "on") else [])


def environment(found: Mapping[str, str]) -> dict[str, str]:
    """Return uv's variables for pip's settings; an index may hold a password, which is for no command line."""
    names = {
        "index-url": ("UV_DEFAULT_INDEX",),
        "extra-index-url": ("UV_EXTRA_INDEX_URL",),
        "cert": ("SSL_CERT_FILE",),
        "proxy": ("HTTP_PROXY", "HTTPS_PROXY"),
        "timeout": ("UV_HTTP_TIMEOUT",),
        "default-timeout": ("UV_HTTP_TIMEOUT",),
    }
    return {variable: " ".join(found[name].split()) for name in names if name in found for variable in names[name]}


def run(command: list[str], more: Mapping[str, str] | None = None) -> None:
    """Run a command to its end; its faults are for the reader, too."""
    subprocess.run(command, check=True, env=os.environ | dict(more or {}))


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
