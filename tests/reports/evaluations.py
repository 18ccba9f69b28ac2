"""Evaluation documents for tests of pages, verdicts and cards."""

from __future__ import annotations

from typing import Any


def measure(
    name: str,
    value: float,
    low: float | None = None,
    high: float | None = None,
    *,
    better: str = "lower",
    baseline: float | None = None,
    ceiling: float | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A measure as a document holds it."""

    def estimate(found: float | None, ends: tuple[float | None, float | None]) -> dict[str, Any] | None:
        return None if found is None else {"value": found, "low": ends[0], "high": ends[1], "n": 1234}

    return {
        "name": name,
        "title": f"Title of {name}",
        "formula": "½ Σ|p - q|",
        "range": [0.0, 1.0],
        "better": better,
        "source": "Somebody 2021, eq. 3",
        "note": "",
        "baseline_is": "columns shuffled",
        "ceiling_is": "the real holdout",
        "estimate": estimate(value, (low, high)),
        "baseline": estimate(baseline, (baseline, baseline)),
        "ceiling": estimate(ceiling, (ceiling, ceiling)),
        "curve": [],
        "reason": "",
        "failed": False,
        **more,
    }


CURVE = [[0.0, 0.0], [0.001, 0.004], [0.01, 0.03], [0.1, 0.2], [1.0, 1.0]]
RELEASE: dict[str, Any] = {
    "id": "adult-aim-1a2b3c-release-evaluation",
    "of": "adult-aim-1a2b3c-release",
    "kind": "release",
    "dataset": "adult",
    "made": "2026-01-02T11:30:00+01:00",
    "facts": {"generator": "aim", "private": True, "epsilon": 1.0, "delta": 1e-6, "rows": 39074},
    "measures": [
        measure("fidelity/column_shapes", 0.977, 0.971, 0.983, better="higher", baseline=0.99, ceiling=0.995),
        measure("fidelity/pair_trends", 0.941, 0.938, 0.944, better="higher", baseline=0.8, ceiling=0.98),
        measure("utility/tstr_auc_trees", 0.886, 0.879, 0.893, better="higher", baseline=0.5, ceiling=0.928),
        measure("disclosure/mia_distance_auc", 0.507, 0.49, 0.523, baseline=0.5, ceiling=0.502, curve=CURVE),
        measure("disclosure/mia_density_auc", 0.511, 0.49, 0.529, baseline=0.5, ceiling=0.502, curve=CURVE),
        measure("disclosure/mia_worst_distance_auc", 0.53, 0.46, 0.61, baseline=0.5),
        measure("disclosure/excess_copies", 0.001, -0.004, 0.006, baseline=0.0),
        measure("disclosure/excess_near_copies", 0.002, -0.004, 0.009, baseline=0.0),
        measure("disclosure/linkability_risk", 0.011, -0.02, 0.04),
        measure("disclosure/dcr", 0.21, 0.2, 0.22, better="neither", note="not a privacy measure"),
        measure("cost/seconds", 41.25, range=[0, None]),
    ],
    "pictures": {
        "columns": [
            {
                "name": "town",
                "labels": ["Öland", "Åland", "rare", "other (suppressed)"],
                "training": [0.7, 0.25, None, 0.05],
                "synthetic": [0.65, 0.31, None, None],
            }
        ],
        "associations": {
            "names": ["town", "hours", "passed"],
            "training": [[1, 0.2, 0.4], [0.2, 1, None], [0.4, None, 1]],
            "synthetic": [[1, 0.1, 0.5], [0.1, 1, 0.2], [0.5, 0.2, 1]],
        },
        "tradeoff": [
            {
                "id": "a",
                "generator": "aim",
                "epsilon": 1.0,
                "utility": {"value": 0.88, "low": 0.87, "high": 0.9},
                "this": True,
            },
            {
                "id": "b",
                "generator": "mst",
                "epsilon": 0.3,
                "utility": {"value": 0.84, "low": 0.83, "high": 0.85},
                "this": False,
            },
            {"id": "c", "generator": "ctgan", "epsilon": None, "utility": {"value": 0.87, "low": 0.86, "high": 0.88}},
        ],
        "shards": [
            {"shard": 0, "state": "trained", "generation": 1, "slices": 4, "first_redone": None, "seconds": None},
            {"shard": 1, "state": "retrained", "generation": 2, "slices": 4, "first_redone": 3, "seconds": 1.25},
            {"shard": 2, "state": "empty", "generation": 1, "slices": 4, "first_redone": None, "seconds": None},
            {"shard": 3, "state": "quarantined", "generation": 1, "slices": 4, "first_redone": None, "seconds": None},
        ],
    },
    "verdicts": [
        {"use": "software testing", "holds": True, "because": ["shapes are fine"]},
        {"use": "model development", "holds": None, "because": ["not shown: AUC failed"]},
        {"use": "publication", "holds": False, "because": ["private: no; yes asked"]},
    ],
    "sampled": {"rows": 1000, "of": 39074},
    "method": ["Figures were taken on 1,000 records."],
    "limits": ["No attack here is the strongest there is."],
}
