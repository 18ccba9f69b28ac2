"""`workbench train --advise`: what partitions lose and cost; nothing is published, and the config says who informed it."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import yaml
from stored import placed

from workbench.config import TrainConfig
from workbench.erasure.request import submit
from workbench.metrics.estimate import Estimate
from workbench.state import journal, lineage
from workbench.workflows.erasure.erase import erase
from workbench.workflows.erasure.verify import verify
from workbench.workflows.evaluation.report import certificate_html
from workbench.workflows.training.advise_shards import Choice, first_slice_odds, recommended
from workbench.workflows.training.train import train

SETS = ("--set", "dataset=pupils", "--set", "rounds=10", "--set", "leaves=7")


def advise(command, workspace, *more):
    return command("--workspace", workspace.root, "train", "configs/models/trees.yaml", *SETS, "--advise", *more)


def kept_in(workspace):
    """Every file but the database, which notes the job; of that, what was journalled and made."""
    root = workspace.root
    files = [p for p in root.rglob("*") if p.is_file() and not p.name.startswith("state.db")]
    with workspace.engine.connect() as connection:
        made = {artifact.id for artifact in lineage.find(connection)}, journal.head(connection)
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}, made


def choice(shards, slices, achieved, seconds):
    return Choice(
        shards=shards,
        slices=slices,
        metric="auc",
        achieved=Estimate(value=achieved, low=0, high=1, n=10),
        seconds=np.full((shards, slices), seconds / (shards * slices)),
        training=1.0,
        stored_bytes=0,
    )


def test_partitions_are_compared_and_nothing_is_written(command, trained, tmp_path):
    before = kept_in(trained)
    answer = advise(command, trained, "--json", "--out", tmp_path / "a.yaml", "--plot", tmp_path / "a.svg")
    assert answer.code == 0, answer.err
    found = answer.json
    tried = [(c["shards"], c["slices"]) for c in found["choices"]]
    assert tried[:3] == [(1, 1), (2, 1), (2, 5)]
    assert all(c["low"] <= c["auc"] <= c["high"] and c["one_request_s"] > 0 for c in found["choices"])
    assert kept_in(trained) == before
    written = yaml.safe_load((tmp_path / "a.yaml").read_text())
    assert written["informed_by"] == "pupils"
    assert TrainConfig.model_validate(written).shards == found["recommended"]["shards"]
    assert b"recommended" in (tmp_path / "a.svg").read_bytes()


def test_a_public_data_set_informs_without_a_mark(command, trained):
    answer = advise(command, trained, "--public")
    assert "Recommended: " in answer.out
    assert "informed_by" not in advise(command, trained, "--public", "--json").json["config"]


def test_nobody_is_looked_at_who_waits_for_an_erasure(command, trained):
    submit(trained, ["pupils"], placed(trained, "train")[0])
    answer = advise(command, trained)
    assert answer.code != 0
    assert "open" in answer.err


@pytest.mark.parametrize("asked", [("--requests", "0"), ("--requests", "-1"), ("--loss", "1"), ("--loss", "-0.1")])
def test_what_makes_no_sense_is_refused(command, trained, asked):
    assert "must lie between" in advise(command, trained, *asked).err.replace("\n", " ")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--out", "a.yaml"), "--out goes with --advise alone"),
        (("--requests", "3"), "--requests goes with --advise alone"),
        (("--public",), "--public goes with --advise alone"),
        (("--advise", "--detach"), "without --detach"),
        (("--advise", "--out", "nowhere/a.yaml"), "there is no folder nowhere"),
        (("--advise", "--plot", "a.png"), "name a .svg file"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_measured(command, trained, monkeypatch, asked, said):
    monkeypatch.setattr(
        "workbench.workflows.training.advise_shards._advised", lambda *_, **__: pytest.fail("it measured")
    )
    before = kept_in(trained)
    answer = command("--workspace", trained.root, "train", "configs/models/trees.yaml", *SETS, *asked)
    assert answer.code == 2
    assert said in " ".join(answer.err.split())
    assert kept_in(trained) == before


@pytest.mark.parametrize(("shards", "slices", "requests"), [(1, 1, 1), (4, 3, 1), (5, 2, 8), (20, 5, 8)])
def test_the_first_slice_touched_is_as_probable_as_counted(shards, slices, requests):
    rng, tries = np.random.default_rng(0), 40_000
    shard = rng.integers(0, shards, (tries, requests))
    place = np.where(shard == 0, rng.integers(0, slices, (tries, requests)), slices).min(axis=1)
    counted = np.bincount(place, minlength=slices + 1)[:slices] / tries
    np.testing.assert_allclose(first_slice_odds(shards, slices, requests), counted, atol=0.01)


def test_the_cost_of_one_request_is_the_theory_of_slices():
    """Bourtoule et al. 2021, §VI: equal slices whose work grows with what they have seen cost (2R + 1) / 3R of a shard."""
    slices = 5
    work = np.tile(np.arange(1, slices + 1), (20, 1)) / 15
    one = Choice(
        shards=20,
        slices=slices,
        metric="auc",
        achieved=Estimate(value=1, low=0, high=1, n=1),
        seconds=work,
        training=1.0,
        stored_bytes=0,
    )
    assert one.cost(1) == pytest.approx((2 * slices + 1) / (3 * slices))


def test_the_cheapest_that_loses_little_is_recommended():
    choices = [choice(1, 1, 0.93, 10), choice(10, 1, 0.925, 12), choice(20, 1, 0.91, 13)]
    assert recommended(choices, requests_a_day=1, most_lost=0.01).shards == 10
    assert recommended(choices, requests_a_day=1, most_lost=0.05).shards == 20
    assert recommended(choices, requests_a_day=1, most_lost=0.0).shards == 1


def test_settings_that_follow_from_the_shards_follow_the_partition():
    base = {"learner": "gradient_boosting", "dataset": "d", "slices": 1, "rows": 32_000}
    few = TrainConfig.model_validate({**base, "shards": 20})
    assert (few.rounds, few.leaves) == (200, 8)
    assert few.partitioned(1, 1) == TrainConfig.model_validate({**base, "shards": 1})
    chosen = TrainConfig.model_validate({**base, "shards": 20, "leaves": 12})
    assert (chosen.partitioned(1, 1).rounds, chosen.partitioned(1, 1).leaves) == (60, 12)


def test_a_certificate_says_where_records_chose_the_settings(trained):
    config = {"learner": "naive_bayes", "dataset": "pupils", "shards": 2, "slices": 2}
    for informed, key in zip((None, "pupils"), placed(trained, "train"), strict=False):
        train(trained, TrainConfig.model_validate({**config, "informed_by": informed}))
        path = Path(erase(trained, [key]).requests[0].certificate)
        assert verify(trained, path, replay=True).valid
        page = certificate_html(trained, path)[0]
        told = ["Not so the choice of some of their settings", "the choice may still reflect the person"]
        assert [text in page for text in told] == [informed is not None] * 2
