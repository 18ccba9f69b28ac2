"""What a user runs: generator and model configs, read from YAML with `--set key=value` on top.

The configs are those of the rooms that know what a generator or a learner takes; everybody else has them from here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from reprlib import Repr
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from workbench.errors import InputError
from workbench.foreign import parse_yaml, read_yaml
from workbench.generators.synthesize_config import MAX_ROWS, SynthesizeConfig
from workbench.sisa.train_config import TrainConfig

__all__ = [
    "CONFIGS",
    "MAX_ROWS",
    "SynthesizeConfig",
    "TrainConfig",
    "find_config",
    "parse_config",
    "read_config",
    "stored_config",
]

_PACKAGE = Path(__file__).parent
CONFIGS = _PACKAGE / "_configs" if (_PACKAGE / "_configs").is_dir() else _PACKAGE.parent / "configs"

MOST_BYTES = 1_000_000  # of a config file

# What was found is quoted in part only: by YAML's aliases a short file can stand for a value of any size
_BRIEF = Repr()
_BRIEF.maxlevel, _BRIEF.maxstring, _BRIEF.maxother = 2, 200, 200

Model = TypeVar("Model", bound=BaseModel)


def find_config(path: Path) -> Path:
    """`path`, or the config of that name that ships with the workbench; raises InputError where there is neither."""
    if path.is_file():
        return path
    parts = path.parts[1:] if path.parts[:1] == ("configs",) else path.parts
    bundled = CONFIGS.joinpath(*parts)
    if not path.is_absolute() and ".." not in parts and bundled.is_file():
        return bundled
    shipped = sorted(f"configs/{p.relative_to(CONFIGS)}" for p in CONFIGS.rglob("*.yaml"))
    raise InputError(f"no config at {path}", hint=f"shipped with the workbench: {', '.join(shipped)}")


def read_config(path: Path, model: type[Model], overrides: Sequence[str] = ()) -> Model:
    """A config of type `model` from a YAML file and `key=value` overrides; raises InputError naming each fault."""
    path = find_config(path)
    hint = "see the configs that ship with the workbench"
    document = read_yaml(path, most=MOST_BYTES, what="config", hint=hint)
    if not isinstance(document, dict):
        raise InputError(f"{path} is not a config: expected a mapping, found {type(document).__name__}")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise InputError(f"--set {override!r} has no value", hint="write --set key=value")
        document[key.strip()] = _scalar(value)
    return parse_config(document, model, source=str(path))


def parse_config(document: dict[str, Any], model: type[Model], *, source: str) -> Model:
    """A config of type `model` from a mapping; raises InputError naming each fault by its field."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise InputError(
            f"{source} is not a valid config: {'; '.join(_fault(e) for e in error.errors())}",
            hint=f"its fields: {', '.join(model.model_fields)}",
        ) from None


def stored_config(kept: Mapping[str, Any], model: type[Model]) -> Model:
    """Return a config that was kept; raise InputError where it names what this process does not know."""
    try:
        return model.model_validate(kept)
    except ValidationError as error:
        raise InputError(
            f"a config that was kept is not valid here: {'; '.join(_fault(e) for e in error.errors())}",
            hint="put the file of the generator or learner into its room again, or withdraw what it made: workbench retire",
        ) from None


def _fault(error: ErrorDetails) -> str:
    place, found = ".".join(map(str, error["loc"])), error["input"]
    message = error["msg"].removeprefix("Value error, ")
    text = f"{place}: {message}" if place else message
    return text if isinstance(found, dict) else f"{text}, found {_BRIEF.repr(found)}"


def _scalar(text: str) -> Any:
    try:
        return parse_yaml(text, what="the value")
    except InputError:
        return text
