"""The privacy page: what composed spends come to, what if more were spent, and how attacks and audits fared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import dp_accounting as dpa
import pytest
from conftest import pupils
from said import Open, press, texts
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from workbench.config import SynthesizeConfig
from workbench.erasure.request import submit
from workbench.errors import BusyError, ForbiddenError, InputError
from workbench.generators.registry import generator_of
from workbench.metrics.estimate import Estimate
from workbench.privacy import hash_lines, holds
from workbench.privacy.calibration import zcdp_rho
from workbench.privacy.events import split_failure
from workbench.privacy.ledger import Ledger
from workbench.state import writing
from workbench.state.roles import Person, acting
from workbench.state.workspace import Workspace
from workbench.ui.parts import attacks as page
from workbench.workflows.datasets.budget import set_budget, show_ledger
from workbench.workflows.datasets.ingest import append
from workbench.workflows.erasure import run_waiting
from workbench.workflows.erasure.suppressions import vouch
from workbench.workflows.evaluation.attack_results import attacks
from workbench.workflows.evaluation.canary_audit import audit
from workbench.workflows.evaluation.evaluate import evaluate
from workbench.workflows.evaluation.results import Attacked, AttackResult
from workbench.workflows.evaluation.subject import Settings
from workbench.workflows.internal_results import findings, keep
from workbench.workflows.operations.overview import overview
from workbench.workflows.synthesis import preflight
from workbench.workflows.synthesis.preflight import preflight_together
from workbench.workflows.synthesis.synthesize import synthesize

AUDIT = {
    "generator": "mst",
    "dataset": "pupils",
    "claim": {"epsilon": 1.0, "delta": 1e-5},
    "canaries": 40,
    "epsilon": {"value": 0.4, "low": 0.1, "high": 1.2, "n": 20},
    "refuted": False,
}
FIGURE = AttackResult(
    attack="A",
    estimate=Estimate(value=0.5, low=0.4, high=0.6, n=3),
    baseline=None,
    ceiling=None,
    against=None,
    better="low",
    asked=False,
    holds=None,
    unfit=(),
)


def add(app: AppTest, epsilon: float) -> AppTest:
    next(box for box in app.number_input if box.label == "ε").set_value(epsilon)
    return press(app, "Add")


def run(epsilon: float, generator: str = "mst", dataset: str = "pupils") -> SynthesizeConfig:
    return SynthesizeConfig.model_validate(
        {"generator": generator, "dataset": dataset, "epsilon": epsilon, "delta": 1e-5}
    )


def test_several_runs_are_composed_as_the_ledger_would(trained: Workspace) -> None:
    told = preflight_together(trained, [run(1), run(9, "aim"), run(0.5)])
    assert [one.allowed for one in told.runs] == [True, False, True]
    assert told.runs[0].spent_after == told.runs[1].spent_after < told.spent_after
    assert len(Ledger(trained.engine).entries("pupils")) == 1, "nothing is charged"
    for config in (run(1), run(0.5)):
        synthesize(trained, config)
    assert show_ledger(trained, "pupils").spent.epsilon == pytest.approx(told.spent_after)
    with pytest.raises(InputError, match="private"):
        preflight_together(trained, [SynthesizeConfig(generator="gaussian_copula", dataset="pupils")])


def test_what_was_priced_once_is_not_priced_again(trained: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, priced = [run(0.7), run(0.3, "aim"), run(0.7)], []
    monkeypatch.setattr(hash_lines, "split_failure", lambda event: priced.append(event) or split_failure(event))
    monkeypatch.setattr(preflight, "generator_of", lambda config: priced.append(config) or generator_of(config))
    first = preflight_together(trained, runs)
    assert len(priced) >= 2, "two generators that nobody asked for before"
    priced.clear()
    assert preflight_together(trained, runs) == first
    assert preflight_together(trained, runs[:2]).spent_after == first.runs[1].spent_after
    assert show_ledger(trained, "pupils").spent.epsilon == first.spent_before
    assert len(priced) <= 1, "the one charge, by itself"


def test_the_highest_place_of_the_line_is_the_spend(browse: Open, trained: Workspace) -> None:
    told = show_ledger(trained, "pupils")
    assert max(epsilon for _, _, epsilon in told.along) == told.spent.epsilon
    assert (told.along[0][0], told.along[-1][1]) == (0, 1)
    pictures = browse(trained, "privacy").get("image")
    assert "The hash line with 1 charge:" in str(pictures[0].proto)


def test_each_identity_type_has_its_line_and_a_spend_beyond_the_budget_is_said(
    browse: Open, trained: Workspace
) -> None:
    half, rho = 2**63, zcdp_rho(2.0, 1e-5)
    for kind, scope in (("pupil-number", (0, half)), ("card", (half, 2**64))):
        Ledger(trained.engine).charge(
            "pupils", dpa.ZCDpEvent(rho), dataset="pupils", purpose="again", scope=[scope], identity_type=kind
        )
    app = browse(trained, "privacy")
    assert ["The hash line with 2 charges:" in str(one.proto) for one in app.get("image")] == [True, True]
    assert "People identified by card" in texts(app)
    assert not app.error
    set_budget(trained, "pupils", epsilon=1.5, delta=1e-5)
    assert "More is spent than the budget" in browse(trained, "privacy").error[0].value
    assert "more is spent" in str(overview(trained).attention)


def test_a_budget_is_held_after_a_restore_until_an_admin_says_why_nothing_is_missing(
    browse: Open, trained: Workspace
) -> None:
    with writing(trained.engine) as connection:
        holds.begin(connection, holds.known(connection))
    app = browse(trained, "privacy")
    assert "restored from a backup" in app.error[0].value
    assert next(one.value for one in app.metric if one.label.startswith("Left")) == "0.00"
    assert "held since the workspace was restored" in str(overview(trained).attention)
    app = press(app, "State it")
    assert any("reason is needed" in fault.value for fault in app.error)
    next(one for one in app.text_input if one.label.startswith("How is that")).set_value("It was a drill.")
    app = press(app, "State it")
    assert not app.error
    assert "It was a drill" in texts(app)
    with acting(Person(actor="v", role="viewer")), pytest.raises(ForbiddenError):
        vouch(trained, None, "x")


def test_what_if_adds_and_takes_away(browse: Open, trained: Workspace) -> None:
    app = add(add(browse(trained, "privacy"), 1.0), 10.0)
    assert "refuse no. 2" in app.error[0].value
    assert "Allowed" in texts(app)
    app = next(b for b in app.button if b.key == "what-if-1").click().run()
    assert not app.error
    assert "1.00 of" not in texts(app)
    app = next(b for b in app.button if b.key == "what-if-0").click().run()
    assert "Add the tables" in texts(app)
    set_budget(trained, "pupils", epsilon=50, delta=1e-5, reason="a larger study")
    assert not add(browse(trained, "privacy"), 10.0).error


def test_a_raise_on_the_page_wants_a_reason_and_is_shown(browse: Open, trained: Workspace) -> None:
    app = browse(trained, "privacy")
    assert not [box for box in app.number_input if box.label == "δ"], "it stays"
    next(box for box in app.number_input if "may ever be spent" in box.label).set_value(6.0)
    assert "needs a reason" in press(app, "Set").error[0].value
    next(box for box in app.text_input if box.label == "Why is it raised?").set_value("a second study")
    assert not press(app, "Set").error
    assert "raised after 1 release, from ε = 4 to ε = 6" in texts(browse(trained, "privacy"))


def test_a_ceiling_is_declared_on_the_page_before_anything_is_spent(browse: Open, trained: Workspace) -> None:
    with trained.engine.begin() as connection:
        connection.execute(text("DELETE FROM charges"))
    app = browse(trained, "privacy")
    next(box for box in app.number_input if box.label == "The most that ε may become later").set_value(8.0)
    assert not press(app, "Set").error
    assert show_ledger(trained, "pupils").ceiling == 8.0


def test_attacks_stand_beside_their_baselines(browse: Open, trained: Workspace) -> None:
    assert "Nothing of these people was attacked yet" in texts(browse(trained, "privacy"))
    (release,) = overview(trained).releases
    evaluate(trained, release.release, settings=Settings(rows=1000))
    (one,) = attacks(trained, "pupils")
    assert one.of == release.release
    by_name = {attack.attack: attack for attack in one.attacks}
    guess = by_name["Membership inference by distance: AUC"]
    assert guess.baseline.value == 0.5
    assert guess.asked
    said = texts(browse(trained, "privacy"))
    assert "Membership inference by distance: AUC" in said
    assert "random guessing" in said
    assert attacks(trained, "nobody") == []


@pytest.mark.parametrize(
    ("held", "green", "said"),
    [
        ([True, True], True, []),
        ([True, None, None], False, ["Of 2 of 3 figures it was not shown"]),
        ([False, None, True], False, ["1 of 3 figures pass", "Of 1 of 3"]),
        ([], False, []),
    ],
)
def test_only_bounds_that_were_shown_are_green(
    browse: Open,
    trained: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    held: list[bool | None],
    green: bool,
    said: list[str],
) -> None:
    figures = (*(replace(FIGURE, asked=True, holds=one) for one in held), FIGURE)
    one = Attacked(of="r", kind="release", made="2026-01-01T00:00:00+00:00", attacks=figures)
    monkeypatch.setattr(page, "attacks", lambda *_: [one])
    app = browse(trained, "privacy")
    assert [box.value for box in app.success if "No figure" in box.value] == [
        "No figure passes a bound that was set."
    ] * green
    assert len(app.warning) == len(said)
    assert all(told in box.value for told, box in zip(said, app.warning, strict=True))


def test_rows_that_are_added_sweep_findings_too(trained: Workspace, tmp_path: Path) -> None:
    keep(trained, "audit", "pupils", "mst", AUDIT)
    pupils(20, first=5000).to_csv(tmp_path / "more.csv", index=False)
    append(trained, "pupils", data=tmp_path / "more.csv")
    assert findings(trained, "audit") == []


def test_a_viewer_audits_nothing(trained: Workspace) -> None:
    with acting(Person(actor="oidc:viewer", role="viewer")), pytest.raises(ForbiddenError):
        audit(trained, run(0.5), canaries=40)
    assert len(Ledger(trained.engine).entries("pupils")) == 1, "nothing is charged"


def test_an_audit_is_shown_until_an_erasure_sweeps_it(browse: Open, trained: Workspace) -> None:
    assert "workbench audit" in texts(browse(trained, "privacy"))
    keep(trained, "audit", "pupils", "mst", AUDIT)
    keep(trained, "audit", "pupils", "mst", AUDIT | {"refuted": True})
    assert len(findings(trained, "audit")) == 1, "one takes the place of the one before"
    assert "the claim is refuted" in texts(browse(trained, "privacy"))
    submit(trained, ["pupils"], "pupil-1007")
    with pytest.raises(BusyError):
        keep(trained, "audit", "pupils", "aim", AUDIT)
    run_waiting.erase_waiting(trained)
    assert findings(trained, "audit") == []
    assert "No generator was audited" in texts(browse(trained, "privacy"))
