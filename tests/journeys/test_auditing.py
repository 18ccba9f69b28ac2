"""`workbench audit`: it bounds epsilon, catches a fit without noise, keeps its result alone, and charges what it reads."""

import hashlib

import numpy as np
import pytest

import workbench.generators.marginals.measurement_log as rows_module
from workbench.data import catalog
from workbench.privacy.calibration import epsilon_of
from workbench.privacy.ledger import Ledger
from workbench.workflows.evaluation.canary_audit import audit_fit, plant
from workbench.workflows.internal_results import findings

GENERATORS = ["independent", "mst", "aim"]


def audit(command, workspace, generator, *more, epsilon=1.0):
    settings = [f"generator={generator}", "dataset=pupils", f"epsilon={epsilon}", "delta=1e-5"]
    sets = [part for setting in settings for part in ("--set", setting)]
    return command("--workspace", workspace.root, "audit", "configs/generators/mst.yaml", *sets, "--json", *more)


def everything(root):
    """The content of every file but the database, which records the charge."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.name.startswith("state.db")]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("generator", GENERATORS)
def test_an_honest_generator_is_not_refuted(generator, command, trained):
    answer = audit(command, trained, generator, "--canaries", 100)
    assert answer.code == 0
    found = answer.json
    assert found["claim"] == {"epsilon": 1.0, "delta": 1e-5}
    assert found["epsilon"]["low"] <= 1.0
    assert not found["refuted"]
    assert found["epsilon"]["n"] == 50


@pytest.mark.parametrize("shards", [1, 4])
def test_a_generator_without_noise_is_refuted(shards, command, trained, monkeypatch):
    """All guesses are right; that is what 30 can show. In shards, each canary is looked for in its own."""
    honest = rows_module.gaussian_sigma
    monkeypatch.setattr(rows_module, "gaussian_sigma", lambda **price: honest(**price) / 1000)
    found = audit(command, trained, "mst", "--canaries", 60, "--set", f"shards={shards}", epsilon=0.5).json
    assert found["epsilon"]["low"] > 3 * 0.5
    assert found["refuted"]


def test_a_table_that_its_generator_cannot_take_is_refused_before_the_charge(command, trained, monkeypatch):
    monkeypatch.setattr("workbench.generators.dp_ctgan.MOST_CELLS", 3)
    charged = len(Ledger(trained.engine).entries("pupils"))
    answer = audit(command, trained, "dp_ctgan", "--canaries", 20)
    assert answer.code == 2
    assert "at most 3 cells" in answer.error["message"]
    assert len(Ledger(trained.engine).entries("pupils")) == charged


def test_the_fit_is_charged_and_its_result_alone_is_kept(command, trained):
    ledger, before = Ledger(trained.engine), everything(trained.root)
    charged = len(ledger.entries("pupils"))
    assert audit(command, trained, "mst", "--canaries", 40).json["charged"]
    entries = ledger.entries("pupils")
    assert len(entries) == charged + 1
    assert entries[-1].purpose == "audit mst with 40 canaries"
    assert 0.99 < epsilon_of(entries[-1].event, 1e-5) <= 1
    assert everything(trained.root) == before
    assert [one.content["canaries"] for one in findings(trained, "audit")] == [40]


def test_a_charge_over_budget_is_refused_before_anything_is_read(command, trained, monkeypatch):
    monkeypatch.setattr("workbench.data.store.Store.read", lambda *_: pytest.fail("read"))
    assert audit(command, trained, "mst", epsilon=50).code == 3


def test_public_data_is_not_charged(command, trained):
    charged = len(Ledger(trained.engine).entries("pupils"))
    found = audit(command, trained, "mst", "--canaries", 40, "--public", epsilon=50).json
    assert not found["charged"]
    assert len(Ledger(trained.engine).entries("pupils")) == charged


@pytest.mark.parametrize("canaries", [0, 19, 2001, 1000])
def test_a_senseless_number_of_canaries_is_refused_and_charges_nothing(canaries, command, trained):
    """From 20 to 2,000; and the pupils' domain has 720 different rows."""
    charged = len(Ledger(trained.engine).entries("pupils"))
    assert audit(command, trained, "mst", "--canaries", canaries).code == 2
    assert len(Ledger(trained.engine).entries("pupils")) == charged


class Copier:
    """Gives the rows it was fitted to, or those of nobody."""

    event, total = None, 1e6

    def __init__(self, remembers):
        self.remembers = remembers

    def fit(self, dataset, *, notebook=None, progress=None):  # noqa: ARG002
        self.rows = dataset.values if self.remembers else dataset.values[:50]
        return self

    def sample(self, n, *, rng, where=None):  # noqa: ARG002
        return rng.choice(self.rows, n)


def test_a_generator_of_no_marginals_is_guessed_by_the_rows_it_gives(trained):
    with trained.engine.connect() as connection:
        records = catalog.store(connection, trained, "pupils").read("train")
    rng = np.random.default_rng(0)
    low = {}
    for remembers in (True, False):
        planted = plant(records.codec, 200, rng=rng)
        low[remembers] = audit_fit(Copier(remembers), records, planted, delta=0.0, rng=rng).low
    assert low[True] > 2
    assert low[False] < 0.3
