"""A workbench for differentially private synthetic data and exact machine unlearning on tables about people.

Importing it loads nothing heavy; each name is loaded when it is first used.
"""

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from workbench.config import SynthesizeConfig, TrainConfig
    from workbench.state.workspace import Workspace
    from workbench.workflows.datasets.budget import set_budget, show_ledger
    from workbench.workflows.datasets.ingest import ingest
    from workbench.workflows.datasets.propose_schema import propose_schema
    from workbench.workflows.erasure.erase import erase
    from workbench.workflows.erasure.verify import verify
    from workbench.workflows.operations.initialise import initialise
    from workbench.workflows.operations.show_lineage import show_lineage
    from workbench.workflows.synthesis.sample import sample
    from workbench.workflows.synthesis.synthesize import synthesize
    from workbench.workflows.training.predict import predict
    from workbench.workflows.training.train import train

P = ParamSpec("P")
T = TypeVar("T")

__all__ = [
    "SynthesizeConfig",
    "TrainConfig",
    "Workspace",
    "erase",
    "ingest",
    "initialise",
    "predict",
    "propose_schema",
    "sample",
    "set_budget",
    "show_ledger",
    "show_lineage",
    "synthesize",
    "train",
    "verify",
]

_HOMES = {
    "SynthesizeConfig": "config",
    "TrainConfig": "config",
    "Workspace": "state.workspace",
    "erase": "workflows.erasure.erase",
    "ingest": "workflows.datasets.ingest",
    "initialise": "workflows.operations.initialise",
    "predict": "workflows.training.predict",
    "propose_schema": "workflows.datasets.propose_schema",
    "sample": "workflows.synthesis.sample",
    "set_budget": "workflows.datasets.budget",
    "show_ledger": "workflows.datasets.budget",
    "show_lineage": "workflows.operations.show_lineage",
    "synthesize": "workflows.synthesis.synthesize",
    "train": "workflows.training.train",
    "verify": "workflows.erasure.verify",
}


_WRITERS = ("ingest", "synthesize", "train")  # a door: each finishes first what was interrupted


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    value = getattr(import_module(f"workbench.{_HOMES[name]}"), name)
    if name in _WRITERS:
        value = _recovering(value)
    globals()[name] = value
    return value


def _recovering(write: Callable[P, T]) -> Callable[P, T]:
    from workbench.workflows.erasure.execute import recover_interrupted  # start-up

    @wraps(write)
    def recovered(*args: P.args, **kwargs: P.kwargs) -> T:
        recover_interrupted(cast("Workspace", args[0] if args else kwargs["workspace"]))
        return write(*args, **kwargs)

    return recovered


def __dir__() -> list[str]:
    return __all__
