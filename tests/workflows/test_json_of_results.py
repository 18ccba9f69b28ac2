"""Results as JSON: which keys there are, in which order, and what becomes of values that JSON lacks."""

from __future__ import annotations

import math
from pathlib import Path

from workbench.config import TrainConfig
from workbench.metrics.estimate import Estimate
from workbench.workflows.datasets.results import EpsilonDelta
from workbench.workflows.synthesis.results import PreflightPrivacy, PreflightResult, SynthesizeResult
from workbench.workflows.training.results import AdviceResult, PartitionFigures, RecommendedPartition

FIGURES = PartitionFigures(
    shards=2,
    slices=1,
    metric="auc",
    achieved=0.9,
    low=0.8,
    high=0.95,
    lost=0.01,
    training_s=1.0,
    one_request_s=0.5,
    cheaper=None,
    a_day_s=0.5,
    stored_mb=0.1,
)


def release(*, private: bool) -> SynthesizeResult:
    return SynthesizeResult(
        generator="g",
        release="g-release",
        path=Path("W/g.parquet"),
        rows=3,
        private=private,
        epsilon=1.0 if private else None,
        delta=1e-5 if private else None,
        metrics={"one": 0.5, "two": Estimate(value=0.5, low=math.nan, high=1.0, n=3)},
        not_measured={},
        mlflow_run="r",
        seconds=1.0,
    )


def test_what_is_unset_is_left_out_and_what_json_lacks_is_null() -> None:
    shown = release(private=False).to_json()
    assert list(shown) == [
        "generator",
        "release",
        "path",
        "rows",
        "private",
        "metrics",
        "not_measured",
        "mlflow_run",
        "seconds",
    ]
    assert shown["path"] == "W/g.parquet"
    assert shown["metrics"] == {"one": 0.5, "two": {"value": 0.5, "low": None, "high": 1.0, "n": 3}}
    assert list(release(private=True).to_json())[4:7] == ["private", "epsilon", "delta"]


def test_a_plan_without_a_forecast_shows_none_of_its_keys() -> None:
    privacy = PreflightPrivacy(
        epsilon=1.0,
        delta=1e-5,
        epsilon_of_this_run=1.0,
        spent_before=0.0,
        spent_after=1.0,
        budget=EpsilonDelta(epsilon=4.0, delta=1e-5),
        allowed=True,
    )
    plan = PreflightResult(generator="dp_ctgan", dataset="d", private=True, privacy=privacy, forecast=None)
    assert list(plan.to_json()) == ["generator", "dataset", "private", "privacy"]
    assert plan.to_json()["privacy"]["budget"] == {"epsilon": 4.0, "delta": 1e-5}


def test_advice_that_was_kept_is_read_back() -> None:
    advice = AdviceResult(
        dataset="d",
        learner="naive_bayes",
        metric="auc",
        requests_a_day=1.0,
        most_lost=0.01,
        choices=(FIGURES,),
        recommended=RecommendedPartition(shards=2, slices=1),
        config=TrainConfig.model_validate({"learner": "naive_bayes", "dataset": "d", "shards": 2, "slices": 1}),
        note="measured",
    )
    kept = advice.to_json()
    assert list(kept["choices"][0])[:3] == ["shards", "slices", "auc"]
    assert "made" not in kept
    again = AdviceResult.from_json(kept, made="2026-01-01T00:00:00+00:00")
    assert (again.choices, again.recommended, again.config) == (advice.choices, advice.recommended, advice.config)
    assert again.to_json() == kept | {"made": "2026-01-01T00:00:00+00:00"}
