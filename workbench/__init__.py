"""A workbench for differentially private synthetic data and exact machine unlearning on tables about people.

Importing it loads nothing heavy; each name is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.config import SynthesizeConfig, TrainConfig
    from workbench.workflows.erase import erase
    from workbench.workflows.ingest import ingest
    from workbench.workflows.initialise import initialise
    from workbench.workflows.ledger import set_budget, show_ledger
    from workbench.workflows.lineage import show_lineage
    from workbench.workflows.predict import predict
    from workbench.workflows.propose import propose_schema
    from workbench.workflows.sample import sample
    from workbench.workflows.synthesize import synthesize
    from workbench.workflows.train import train
    from workbench.workflows.verify import verify
    from workbench.workspace import Workspace

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
    "Workspace": "workspace",
    "propose_schema": "workflows.propose",
    "set_budget": "workflows.ledger",
    "show_ledger": "workflows.ledger",
    "show_lineage": "workflows.lineage",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    value = getattr(import_module(f"workbench.{_HOMES.get(name, f'workflows.{name}')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
