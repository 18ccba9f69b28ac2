"""A workbench for differentially private synthetic data and exact machine unlearning on tables about people.

Importing it loads nothing heavy; each name is loaded when it is first used.
"""

from collections.abc import Callable
from functools import wraps
from importlib import import_module
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from workbench.config import SynthesizeConfig, TrainConfig
    from workbench.errors import (
        ApprovalRequiredError,
        BudgetError,
        BusyError,
        CheckFailedError,
        DamagedError,
        DecidedError,
        ForbiddenError,
        HeldError,
        InputError,
        KnownRequestError,
        LockedError,
        MalformedKeyError,
        MissingExtraError,
        NamingError,
        NotFoundError,
        QuarantinedError,
        ReusedKeyError,
        ScopeError,
        UnknownCallerError,
        WorkbenchError,
    )
    from workbench.generators.outlook import Forecast
    from workbench.metrics.estimate import Estimate
    from workbench.reports.evaluation_document import Evaluation
    from workbench.state.workspace import Workspace
    from workbench.workflows.datasets.budget import set_budget, show_ledger
    from workbench.workflows.datasets.ingest import append, ingest
    from workbench.workflows.datasets.propose_schema import propose_schema
    from workbench.workflows.datasets.results import (
        AppendResult,
        BudgetResult,
        ChargeResult,
        ColumnProfile,
        EpsilonDelta,
        GuessedSchema,
        HeldResult,
        IngestResult,
        LedgerResult,
        PrivateSchema,
        ProfileResult,
        RaiseResult,
        RehearsalResult,
        SchemaDraft,
        Spent,
        StatementResult,
    )
    from workbench.workflows.erasure.erase import erase
    from workbench.workflows.erasure.results import ErasureResult, PlannedErasure, Verification
    from workbench.workflows.erasure.verify import verify
    from workbench.workflows.evaluation.evaluate import evaluate
    from workbench.workflows.evaluation.report import report_evaluation as report
    from workbench.workflows.evaluation.results import ReportFile
    from workbench.workflows.evaluation.subject import Settings
    from workbench.workflows.operations.initialise import initialise
    from workbench.workflows.operations.results import LineageResult
    from workbench.workflows.operations.show_lineage import show_lineage
    from workbench.workflows.synthesis.results import (
        Drawn,
        Figures,
        JointFit,
        JointPreflightResult,
        MeasureResult,
        PreflightPrivacy,
        PreflightResult,
        SampleResult,
        SynthesizeResult,
    )
    from workbench.workflows.synthesis.sample import sample
    from workbench.workflows.synthesis.synthesize import synthesize
    from workbench.workflows.training.predict import predict
    from workbench.workflows.training.results import (
        AdviceResult,
        PartitionFigures,
        PredictedRows,
        PredictResult,
        RecommendedPartition,
        ShardProgress,
        TrainedShard,
        TrainResult,
    )
    from workbench.workflows.training.train import train

P = ParamSpec("P")
T = TypeVar("T")

__all__ = [
    "AdviceResult",
    "AppendResult",
    "ApprovalRequiredError",
    "BudgetError",
    "BudgetResult",
    "BusyError",
    "ChargeResult",
    "CheckFailedError",
    "ColumnProfile",
    "DamagedError",
    "DecidedError",
    "Drawn",
    "EpsilonDelta",
    "ErasureResult",
    "Estimate",
    "Evaluation",
    "Figures",
    "ForbiddenError",
    "Forecast",
    "GuessedSchema",
    "HeldError",
    "HeldResult",
    "IngestResult",
    "InputError",
    "JointFit",
    "JointPreflightResult",
    "KnownRequestError",
    "LedgerResult",
    "LineageResult",
    "LockedError",
    "MalformedKeyError",
    "MeasureResult",
    "MissingExtraError",
    "NamingError",
    "NotFoundError",
    "PartitionFigures",
    "PlannedErasure",
    "PredictResult",
    "PredictedRows",
    "PreflightPrivacy",
    "PreflightResult",
    "PrivateSchema",
    "ProfileResult",
    "QuarantinedError",
    "RaiseResult",
    "RecommendedPartition",
    "RehearsalResult",
    "ReportFile",
    "ReusedKeyError",
    "SampleResult",
    "SchemaDraft",
    "ScopeError",
    "Settings",
    "ShardProgress",
    "Spent",
    "StatementResult",
    "SynthesizeConfig",
    "SynthesizeResult",
    "TrainConfig",
    "TrainResult",
    "TrainedShard",
    "UnknownCallerError",
    "Verification",
    "WorkbenchError",
    "Workspace",
    "append",
    "erase",
    "evaluate",
    "ingest",
    "initialise",
    "predict",
    "propose_schema",
    "report",
    "sample",
    "set_budget",
    "show_ledger",
    "show_lineage",
    "synthesize",
    "train",
    "verify",
]

_HOMES = {
    "Estimate": "metrics.estimate",
    "Evaluation": "reports.evaluation_document",
    "Forecast": "generators.outlook",
    "Settings": "workflows.evaluation.subject",
    "SynthesizeConfig": "config",
    "TrainConfig": "config",
    "Workspace": "state.workspace",
    "append": "workflows.datasets.ingest",
    "erase": "workflows.erasure.erase",
    "evaluate": "workflows.evaluation.evaluate",
    "ingest": "workflows.datasets.ingest",
    "initialise": "workflows.operations.initialise",
    "predict": "workflows.training.predict",
    "propose_schema": "workflows.datasets.propose_schema",
    "report": "workflows.evaluation.report",
    "sample": "workflows.synthesis.sample",
    "set_budget": "workflows.datasets.budget",
    "show_ledger": "workflows.datasets.budget",
    "show_lineage": "workflows.operations.show_lineage",
    "synthesize": "workflows.synthesis.synthesize",
    "train": "workflows.training.train",
    "verify": "workflows.erasure.verify",
}
# Where every other name is, the first that has it: errors and results
_SHELVES = (
    "errors",
    "workflows.datasets.results",
    "workflows.synthesis.results",
    "workflows.training.results",
    "workflows.evaluation.results",
    "workflows.erasure.results",
    "workflows.operations.results",
)
_CALLED = {"report": "report_evaluation"}  # names that differ in their module
_WRITERS = ("append", "evaluate", "ingest", "synthesize", "train")  # a door: each finishes first what was interrupted


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    homes = (import_module(f"workbench.{home}") for home in ([_HOMES[name]] if name in _HOMES else _SHELVES))
    called = _CALLED.get(name, name)
    value = next(getattr(home, called) for home in homes if hasattr(home, called))
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
